package image

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

// bootstrap runs a creation with a bootstrap program that is a shell script: $d is the directory
// to fill.
func (s store) bootstrap(t *testing.T, program, script string, args ...string) kit.Result {
	t.Helper()
	programs := t.TempDir()
	script = "#!/bin/sh -e\nfor a; do case $a in /*) d=$a;; esac; done\n" + script
	kit.Must(t, os.WriteFile(filepath.Join(programs, program), []byte(script), 0o755))
	for _, tool := range []string{"sh", "unshare", "mount", "mkdir"} {
		path, err := exec.LookPath(tool)
		kit.Must(t, err)
		kit.Must(t, os.Symlink(path, filepath.Join(programs, tool)))
	}
	cmd := exec.Command(kit.Runtime, s.on(append([]string{"image", "create"}, args...))...)
	cmd.Env = []string{"PATH=" + programs}
	return kit.Do(t, cmd).WithoutProgress()
}

// What of a release comes: mkosi has updates and security updates by default, vmdb2 and
// debootstrap have the release as it was made, which users find out late.
func TestAReleaseComesWithItsUpdates(t *testing.T) {
	s := newOverlay(t)
	const updates = "deb http://deb.debian.org/debian bookworm-updates main\ndeb http://deb.debian.org/debian-security bookworm-security main\n"
	for _, c := range []struct {
		program    string
		args       []string
		want, note string
	}{
		{"mmdebstrap", []string{"--suite", "bookworm"}, updates, ""},
		{"mmdebstrap", []string{"--suite", "bookworm", "--components", "main,contrib"}, strings.ReplaceAll(updates, "main\n", "main contrib\n"), ""},
		{"mmdebstrap", []string{"--suite", "sid"}, "", ""},
		{"mmdebstrap", []string{"--suite", "buster"}, "", ""},
		{"mmdebstrap", []string{"--suite", "bookworm", "--mirror", "http://mirror.example/debian"}, "", "without updates"},
		{"mmdebstrap", []string{recipe(t, `suite = "bookworm"`)}, updates, ""},
		{"mmdebstrap", []string{recipe(t, "suite = \"bookworm\"\nsources = []")}, "", ""},
		{"mmdebstrap", []string{recipe(t, "suite = \"bookworm\"\nsources = [\"deb http://x y z\"]")}, "deb http://x y z\n", ""},
		{"debootstrap", []string{"--suite", "bookworm"}, "", "apt-get install mmdebstrap"},
	} {
		r := s.bootstrap(t, c.program, `for a; do case $a in deb\ *) echo "$a";; esac; done >$d/sources`, append([]string{"made"}, c.args...)...)
		if r.Code != 0 || !strings.Contains(r.Err, c.note) || c.note == "" && r.Err != "" {
			t.Errorf("%s %q: %+v", c.program, c.args, r)
			continue
		}
		if got, err := os.ReadFile(filepath.Join(s.path, "made", "current", "sources")); err != nil || string(got) != c.want {
			t.Errorf("%s %q: sources %q, %v; want %q", c.program, c.args, got, err, c.want)
		}
		s.succeed(t, "image", "remove", "made")
	}
	s.clean(t)
}

// debootstrap, mkosi, debos: "Release file is expired" for sid on a mirror that is behind.
func TestAnExpiredRelease(t *testing.T) {
	s := newOverlay(t)
	const program = `for a; do case $a in '--aptopt=Acquire::Check-Valid-Until "false";') mkdir $d/taken; exit 0;; esac; done
		echo 'E: Release file for http://x/InRelease is expired (invalid since 3d). Updates for this repository will not be applied.' >&2; exit 25`
	if r := s.bootstrap(t, "mmdebstrap", program, "--suite", "sid", "made"); r.Code != 125 || !strings.Contains(r.Err, "--apt-option Acquire::Check-Valid-Until=false") {
		t.Errorf("%+v", r)
	}
	for _, args := range [][]string{{"--suite", "sid", "--apt-option", "Acquire::Check-Valid-Until=false"},
		{recipe(t, "suite = \"sid\"\napt-options = [\"Acquire::Check-Valid-Until=false\"]")}} {
		if r := s.bootstrap(t, "mmdebstrap", program, append([]string{"made"}, args...)...); r.Code != 0 {
			t.Errorf("%q: %+v", args, r)
		}
		s.succeed(t, "image", "remove", "made")
		if r := s.bootstrap(t, "debootstrap", program, append([]string{"made"}, args...)...); r.Code != 125 || !strings.Contains(r.Err, "apt-get install mmdebstrap") {
			t.Errorf("debootstrap %q: %+v", args, r)
		}
	}
	for _, bad := range []string{"", "APT::X", "X=1", "=1", "APT::X y=1", `APT::X="1"`, "APT::X=1\n2", "APT::X{=1"} {
		r := s.bootstrap(t, "mmdebstrap", program, "--suite", "sid", "--apt-option", bad, "made")
		if r.Code != 125 || !strings.Contains(r.Err, "want NAME=VALUE") {
			t.Errorf("%q: %+v", bad, r)
		}
	}
	if r := s.bootstrap(t, "mmdebstrap", program, "--from", "x", "--apt-option", "APT::X=1", "made"); !strings.Contains(r.Err, "belong to suite") {
		t.Errorf("%+v", r)
	}
	s.clean(t)
}
