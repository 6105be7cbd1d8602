package image

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

// bootstrap runs a creation with a bootstrap program that is a shell script: $d is the
// directory to fill.
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

// debootstrap, mkosi, debos: "Release file is expired" for sid on a mirror that is
// behind.
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

// Every way to make a version leaves behind what apt had to download: docker and podman
// images are full of it.
const download = `mkdir -p $d/var/lib/apt/lists/partial $d/var/cache/apt/archives; for f in lib/apt/lists/x_Packages lib/apt/lists/partial/y lib/apt/lists/lock \
	cache/apt/pkgcache.bin cache/apt/other cache/apt/archives/x.deb; do echo 12345 >$d/var/$f; done`

func TestNoDownloadsAreSealed(t *testing.T) {
	s := newOverlay(t)
	s.succeed(t, "image", "import", "base", tree(t, "mkdir bin; cp /bin/busybox bin; ln -s busybox bin/sh; ln -s busybox bin/mkdir"))
	left := func(name string) string {
		out, err := exec.Command("sh", "-c", `cd "$1" && find var/lib/apt var/cache/apt -type f | sort | tr '\n' ' '`, "sh", filepath.Join(s.path, name, "current")).Output()
		kit.Must(t, err)
		return string(out)
	}
	const clean, all = "var/cache/apt/other var/lib/apt/lists/lock ", "var/cache/apt/archives/x.deb var/cache/apt/other var/cache/apt/pkgcache.bin " +
		"var/lib/apt/lists/lock var/lib/apt/lists/partial/y var/lib/apt/lists/x_Packages "
	if r := s.bootstrap(t, "mmdebstrap", download, "--suite", "sid", "suite"); r.Code != 0 || !strings.Contains(r.Err, "removed what apt had downloaded") {
		t.Errorf("%+v", r)
	}
	inside := []string{"sh", "-c", "d=; " + download}
	s.succeed(t, "image", "create", "recipe", "--from", "base", "--run", inside[2])
	s.succeed(t, append([]string{"image", "shell", "--keep", "base", "--"}, inside...)...)
	for _, name := range []string{"suite", "recipe", "base"} {
		if got := left(name); got != clean {
			t.Errorf("%s has %s", name, got)
		}
	}
	s.succeed(t, append([]string{"image", "shell", "--keep", "--keep-downloads", "base", "--"}, inside...)...)
	if got := left("base"); got != all {
		t.Errorf("kept were %s", got)
	}
	s.succeed(t, append([]string{"image", "shell", "--keep", "base", "--"}, "true")...)
	if got := left("base"); got != all {
		t.Errorf("what was there before is not kept: %s", got)
	}
	s.clean(t)
}

// An image is updated when there is something new, and only then has a new version.
func TestUpdates(t *testing.T) {
	each(t, func(t *testing.T, s store) {
		const status = `printf 'Package: %s\nStatus: install ok installed\nArchitecture: i386\nVersion: %s\n\n'`
		// The archive has what is in /srv/new; where that is "broken", it cannot be reached.
		apt := "#!/bin/sh\n" + `echo "apt-get $*"; mkdir -p /var/lib/apt/lists; echo x >/var/lib/apt/lists/x_Packages
case "$*" in *update) [ "$(cat /srv/new)" != broken ];; *full-upgrade) cat /srv/new >/var/lib/dpkg/status;; esac`
		debian := tree(t, "mkdir -p bin srv var/lib/dpkg; cp /bin/busybox bin; for n in sh cat mkdir; do ln -s busybox bin/$n; done; "+
			status+" libc6 1 >var/lib/dpkg/status; cat var/lib/dpkg/status >srv/new; printf '%s\n' '"+strings.ReplaceAll(apt, "'", `'\''`)+"' >bin/apt-get; chmod 755 bin/apt-get")
		for _, name := range []string{"one", "two"} {
			s.succeed(t, "image", "import", name, debian)
		}
		s.small(t, "other", "no packages")
		if out := s.succeed(t, "image", "update", "one"); out != "image one@1 is up to date\n" {
			t.Errorf("nothing is new: %q", out)
		}
		s.succeed(t, "image", "shell", "--keep", "one", "--", "sh", "-c", "{ "+strings.ReplaceAll(status, "%s", "%s")+" libc6 2; "+status+" zlib1g 5; } >/srv/new")
		s.succeed(t, "image", "shell", "--keep", "two", "--", "sh", "-c", "echo broken >/srv/new")
		r := kit.Root(t, s.on([]string{"image", "update", "--all"})...)
		lines := strings.Split(r.Out, "\n")
		if r.Code != 125 || len(lines) != 4 || !strings.HasPrefix(lines[0], "image one@3: sha256:") || !strings.HasSuffix(lines[0], ", 2 packages") ||
			lines[1] != "package  changed  libc6 1 to 2" || lines[2] != "package  added    zlib1g 5" ||
			!strings.Contains(r.Err, "update two: apt-get failed with error code 1: the image stays as it is") || strings.Contains(r.Err, "update other") {
			t.Errorf("%+v", r)
		}
		if list := s.history(t, "one"); len(list) != 3 || !list[2].Current || list[2].Origin != "update of one@2" {
			t.Errorf("%+v", list)
		}
		if list := s.history(t, "two"); len(list) != 2 {
			t.Errorf("%+v", list)
		}
		if _, err := os.Stat(filepath.Join(s.path, "one", "current", "var/lib/apt/lists/x_Packages")); err == nil {
			t.Error("what apt has downloaded is kept")
		}
		s.refuse(t, "no packages that dpkg knows", "image", "update", "other")
		s.refuse(t, "no NAME given", "image", "update")
		s.refuse(t, "--all and names exclude each other", "image", "update", "--all", "one")
		s.clean(t)
	})
}

// A package that the mirror does not have is told before anything is made.
func TestAPackageThatIsNotThere(t *testing.T) {
	s := newOverlay(t)
	const program = `case "$*" in *--quiet*) exit 1;; *--simulate*nosuch*) echo "E: Unable to locate package nosuch" >&2; echo "E: Package 'old' has no installation candidate" >&2; exit 1;; esac; echo real >&2; echo >$d/made`
	r := s.bootstrap(t, "mmdebstrap", program, "--suite", "bookworm", "--include", "make,nosuch,old", "--arch", "amd64", "made")
	if r.Code != 125 || r.Err != "runtime: image made: the mirror has no package nosuch, old for bookworm and amd64 (components main): nothing was made\n" {
		t.Errorf("%+v", r)
	}
	if r := s.bootstrap(t, "mmdebstrap", program, "--suite", "bookworm", "--include", "make", "made"); r.Code != 0 || r.Err != "real\n" {
		t.Errorf("%+v", r)
	}
	s.succeed(t, "image", "remove", "made")
	s.clean(t)
}
