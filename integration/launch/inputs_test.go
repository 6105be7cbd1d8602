package launch

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mayfly/integration/kit"
	"mayfly/runtime/inputs"
)

// watched runs a script in a project with --inputs, and returns what it has opened.
func (p inProject) watched(t *testing.T, script string, flags ...string) (inputs.Report, kit.Result) {
	t.Helper()
	name := filepath.Join(p.dir, "src", "inputs.json")
	args := append(append([]string{"run", "--inputs", name}, flags...), kit.Image, "--", "sh", "-c", script)
	r := p.run(t, ".", args...)
	var report inputs.Report
	data, err := os.ReadFile(name)
	kit.Must(t, err)
	if err := json.Unmarshal(data, &report); err != nil {
		t.Fatalf("%q: %v: %s: %+v", flags, err, data, r)
	}
	return report, r
}

// of returns what a report says of a file; the zero File: nothing.
func of(r inputs.Report, path string) inputs.File {
	at := slices.IndexFunc(r.Files, func(f inputs.File) bool { return f.Path == path })
	if at < 0 {
		return inputs.File{}
	}
	return r.Files[at]
}

// What a build has opened is told: a header and a tool that nobody has declared.
func TestUndeclaredInputsAreFound(t *testing.T) {
	u, uid, gid := kit.Lookup(t, kit.User)
	p := newProject(t, "")
	include := filepath.Join(u.HomeDir, "include")
	tool, err := os.MkdirTemp("/opt", "tool-")
	kit.Must(t, err)
	t.Cleanup(func() { os.RemoveAll(tool); os.RemoveAll(include) })
	for _, err := range []error{os.Mkdir(include, 0o755), os.Chown(include, int(uid), int(gid)), os.WriteFile(filepath.Join(include, "planted.h"), nil, 0o644),
		os.Chmod(tool, 0o755), os.WriteFile(filepath.Join(tool, "planted"), []byte("#!/bin/sh\necho made >out\n"), 0o755)} {
		kit.Must(t, err)
	}
	const script = "read line <~/include/planted.h; %s/planted && cat out; echo x >~/include/made; : >gone; rm gone; cat mayfly.toml"
	r, result := p.watched(t, fmt.Sprintf(script, tool))
	if result.Code != 0 || result.Out != "made\n" || !r.Complete || r.Project != p.dir || r.Installed == 0 || !strings.HasPrefix(r.Image, kit.Image) {
		t.Errorf("%+v, %+v", r, result)
	}
	for path, want := range map[string]string{
		filepath.Join(include, "planted.h"): "host read", filepath.Join(tool, "planted"): "host read", filepath.Join(include, "made"): "host written",
		filepath.Join(p.dir, "out"): "project both", filepath.Join(p.dir, "gone"): "project written", filepath.Join(p.dir, "mayfly.toml"): "project read",
		"/usr/bin/dash": "image read dash",
	} {
		f := of(r, path)
		got := f.Of + " " + map[bool]string{true: "written", false: "read"}[f.Written > 0]
		if f.Written > 0 && f.Opened > f.Written {
			got = f.Of + " both"
		}
		if got = strings.TrimSpace(got + " " + f.Package); got != want {
			t.Errorf("%s: %s (%+v), want %s", path, got, f, want)
		}
	}
	for _, want := range []string{"read outside of the project: ", filepath.Join(tool, "planted"), "~/include/planted.h", "; image packages used: ", "; wrote outside of the project: ~/include/made"} {
		if !strings.Contains(result.Err, want) || strings.Count(result.Err, "\n") != 1 {
			t.Errorf("%q, want %s", result.Err, want)
		}
	}

	// A list of what may be used: the build that uses more fails, with its own exit
	// status if that is not 0.
	list := filepath.Join(p.dir, "src", "list")
	for _, c := range []struct {
		list, script, want string
		code               int
	}{
		{"~/include\n" + tool + "\n", fmt.Sprintf(script, tool), "", 0},
		{"~/include\n", fmt.Sprintf(script, tool), "opened, and not allowed: \"" + tool + "/planted\"", 125},
		{tool, "cat ~/include/planted.h", "\"" + include + "/planted.h\"", 125},
		{tool, "cat ~/include/planted.h; exit 7", "\"" + include + "/planted.h\"", 7},
		{"package dash\npackage libc6\npackage libc-bin\n", "true", "", 0},
		{"package libc6\n", "true", "used, and not allowed: package dash", 125},
		{"include", "true", "list:1: \"include\": want an absolute path", 125},
	} {
		kit.Must(t, os.WriteFile(list, []byte(c.list), 0o644))
		r := p.run(t, ".", "run", "--allow-inputs", list, kit.Image, "--", "sh", "-c", c.script)
		if r.Code != c.code || !strings.Contains(r.Err, c.want) || c.want == "" && strings.Contains(r.Err, "not allowed") {
			t.Errorf("%q: %q: %+v, want %s", c.list, c.script, r, c.want)
		}
	}
	kit.Must(t, os.WriteFile(filepath.Join(p.dir, "mayfly.toml"), []byte("image = \""+kit.Image+"\"\nallow-inputs = \"src/list\"\n"), 0o644))
	kit.Must(t, os.WriteFile(list, []byte("/nothing\n"), 0o644))
	if r := p.run(t, ".", "run", "--", "cat", filepath.Join(tool, "planted")); r.Code != 125 || !strings.Contains(r.Err, "--allow-inputs "+list+": opened, and not allowed") {
		t.Errorf("in the project's file: %+v", r)
	}
	kit.NothingLeft(t)
}

// A build cannot make more of what is outside a part of the project.
func TestABuildDoesNotChooseItsProject(t *testing.T) {
	home := kit.WorkDirectory(t, kit.User)
	_, uid, gid := kit.Lookup(t, kit.User)
	p := inProject{filepath.Join(home, "project")}
	for _, dir := range []string{"project", "project/.git", "project/src"} {
		kit.Must(t, os.Mkdir(filepath.Join(home, dir), 0o755))
		kit.Must(t, os.Chown(filepath.Join(home, dir), int(uid), int(gid)))
	}
	kit.Must(t, os.WriteFile(filepath.Join(home, "outside"), nil, 0o644))
	list := filepath.Join(home, "project", "src", "list")
	kit.Must(t, os.WriteFile(list, nil, 0o644))
	r := p.run(t, "src", "run", "--allow-inputs", list, kit.Image, "--", "sh", "-c", "mv ../.git ../../; cat ../../outside")
	if r.Code != 125 || !strings.Contains(r.Err, "\""+home+"/outside\"") {
		t.Errorf("%+v", r)
	}
}

// The kinds of containers are watched alike.
func TestInputsOfEachKindOfContainer(t *testing.T) {
	p := newProject(t, "")
	for _, flags := range [][]string{{}, {"--writable"}, {"--root"}, {"--root-as", "caller"}, {"--network", "none"}, {"--tmpfs", "/mnt"}, {"--no-host-binds", "--bind", "."}, {"--bind", "src:/other"}} {
		r, result := p.watched(t, "cat mayfly.toml; exec /bin/true", flags...)
		if f := of(r, filepath.Join(p.dir, "mayfly.toml")); result.Code != 0 || !r.Complete || f.Opened == 0 || f.Of != inputs.OfProject || of(r, "/usr/bin/true").Package != "coreutils" {
			t.Errorf("%q: %+v, %+v, %+v", flags, f, r.Missed, result)
		}
	}
	if r := p.run(t, ".", "run", "--inputs", "/nosuch/file", kit.Image, "true"); r.Code != 125 || !strings.Contains(r.Err, "--inputs: open /nosuch/file") {
		t.Errorf("%+v", r)
	}
	if r := p.run(t, ".", "run", "--unprivileged", "--inputs", "-", kit.Image, "true"); r.Code != 125 || !strings.Contains(r.Err, "--inputs") {
		t.Errorf("rootless: %+v", r)
	}
	// Some kernels tell of FIFOs, too. Both ends still find each other.
	_, result := p.watched(t, "mkfifo f; for i in 1 2 3 4 5 6 7 8 9 10; do (cat f >>all) & echo $i >f; wait; done; wc -l <all")
	if strings.TrimSpace(result.Out) != "10" {
		t.Errorf("%+v", result)
	}
	kit.NothingLeft(t)
}

// Packages that builds have used become a recipe.
func TestASlimRecipe(t *testing.T) {
	p := newProject(t, "")
	r, _ := p.watched(t, "make --version >/dev/null; cpp --version >/dev/null")
	if !r.Complete {
		t.Fatalf("%+v", r)
	}
	name := filepath.Join(p.dir, "src", "inputs.json")
	slim := p.run(t, ".", "image", "slim", kit.Image, name)
	if slim.Code != 0 || !strings.Contains(slim.Out, "\nsuite = 'bookworm'\n") || !strings.Contains(slim.Out, "  'cpp',\n  'make'\n]") || strings.Contains(slim.Out, "gcc-12") {
		t.Errorf("%+v", slim)
	}
	for want, args := range map[string][]string{
		"not what `runtime run --inputs` writes": {kit.Image, filepath.Join(p.dir, "mayfly.toml")},
		"it is of image":                         {"other", name},
		"no such file":                           {kit.Image, "/nosuch"},
		"no INPUTS given":                        {kit.Image},
	} {
		if r := p.run(t, ".", append([]string{"image", "slim"}, args...)...); r.Code != 125 || !strings.Contains(r.Err, want) {
			t.Errorf("%q: %+v", args, r)
		}
	}
}
