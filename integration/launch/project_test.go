package launch

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

// A project is a directory with a file mayfly.toml.
type inProject struct {
	dir string
}

// newProject makes a project of the ordinary user's outside of the homes.
func newProject(t *testing.T, text string) inProject {
	t.Helper()
	_, uid, gid := kit.Lookup(t, kit.User)
	dir, err := os.MkdirTemp("/srv", "project-")
	kit.Must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	kit.Must(t, errors.Join(os.MkdirAll(filepath.Join(dir, "src/deep"), 0o755), os.WriteFile(filepath.Join(dir, "mayfly.toml"), []byte(text), 0o644), os.Chmod(dir, 0o755)))
	for _, name := range []string{".", "src", "src/deep", "mayfly.toml"} {
		kit.Must(t, os.Chown(filepath.Join(dir, name), int(uid), int(gid)))
	}
	return inProject{dir}
}

// as runs the program in a directory of the project's.
func (p inProject) as(t *testing.T, user, below string, args ...string) kit.Result {
	t.Helper()
	cmd := kit.As(t, user, append([]string{kit.Runtime}, args...)...)
	cmd.Dir = filepath.Join(p.dir, below)
	return kit.Do(t, cmd)
}

func (p inProject) run(t *testing.T, below string, args ...string) kit.Result {
	t.Helper()
	return p.as(t, kit.User, below, args...)
}

func TestAProjectSaysWhatItIsBuiltIn(t *testing.T) {
	p := newProject(t, `image = "`+kit.Image+`"
bind-ro = ["src:/sources"]
network = "none"
add-host = ["db:127.0.0.9"]
env = {COLOR = "red", SHAPE = "round"}
env-pass = ["PASSED"]
limits = {timeout = "1m"}
[commands]
where = "pwd; ls"
args  = ["printf", "<%s>", "a b", "it's"]
both  = {steps = ["args", "where"]}
fails = "false; echo not reached"
`)
	for _, c := range []struct {
		below, want string
		code        int
		args        []string
	}{
		{".", p.dir + "\nred round\n", 0, []string{"run", "--", "sh", "-c", "pwd; echo $COLOR $SHAPE"}},
		{"src/deep", p.dir + "/src/deep\nmayfly.toml\n", 0, []string{"run", "--", "sh", "-c", "pwd; ls ../../ | grep toml"}},
		{".", "blue round\n", 0, []string{"run", "--env", "COLOR=blue", "--", "sh", "-c", "echo $COLOR $SHAPE"}},
		{".", "deep\n", 0, []string{"run", "--", "ls", "/sources"}},
		{".", "mayfly.toml\nsrc\n", 0, []string{"run", "--bind", ".:/sources", "--", "ls", "/sources"}},
		{"src/deep", p.dir + "\nmayfly.toml\nsrc\n", 0, []string{"run", "where"}},
		{"src/deep", "<a b><it's>", 0, []string{"run", "args"}},
		{"src/deep", "<a b><it's>" + p.dir + "\nmayfly.toml\nsrc\n", 0, []string{"run", "both"}},
		{".", "", 1, []string{"run", "fails"}},
		{".", "lo\n", 0, []string{"run", "--", "ls", "/sys/class/net"}},
		{".", "done\n", 0, []string{"shell", "--", "echo", "done"}},
		{".", "done\n", 0, []string{"shell", "--no-login", "--", "echo", "done"}},
		// An image that is named has nothing of the file.
		{".", "empty\n", 0, []string{"run", kit.Image, "--", "sh", "-c", "echo ${COLOR-empty}"}},
		{".", "empty\n", 0, []string{"run", "--", kit.Image, "--", "sh", "-c", "echo ${COLOR-empty}"}},
	} {
		if r := p.run(t, c.below, c.args...); r.Out != c.want || r.Code != c.code {
			t.Errorf("%s: %q: %+v, want %q", c.below, c.args, r, c.want)
		}
	}
	var plan struct {
		Timeout     int64
		NetworkMode string
	}
	if r := p.run(t, ".", "run", "--dry-run", "--timeout", "5s", "--", "true"); json.Unmarshal([]byte(r.Out), &plan) != nil || plan.Timeout != 5e9 || plan.NetworkMode != "none" {
		t.Errorf("%+v: %+v", plan, r)
	}
	if r := p.run(t, ".", "run", "--detach", "--name", "detached-project", "--", "sh", "-c", "echo $COLOR"); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	if r := p.run(t, ".", "logs", "--follow", "detached-project"); r.Out != "red\n" {
		t.Errorf("%+v", r)
	}
	for want, args := range map[string][]string{
		"no command given: `runtime run -- COMMAND` runs one":     {"run"},
		"no command \"nothing\", it has where, args, both, fails": {"run", "nothing"},
		"--bind follows": {"run", kit.Image, "--bind", "/x"},
	} {
		r := p.run(t, ".", args...)
		if r.Code != 125 || !strings.Contains(r.Err, want) || strings.Count(r.Err, "\n") != 1 {
			t.Errorf("%q: %+v, want %s", args, r, want)
		}
	}
}

func TestWithoutAProject(t *testing.T) {
	nowhere := inProject{"/"}
	for want, args := range map[string][]string{
		"no image given: `runtime image list` shows what there is; there is no mayfly.toml from \"/\" upwards: \"/\" is not yours": {"shell"},
		"unknown image make in ": {"run", "--", "make", "all"},
		"`runtime image list` shows what is there; there is no mayfly.toml from \"/\" upwards": {"run", "--", "make", "all"},
		"no image given: `runtime image list` shows what there is; there is no mayfly":         {"run", "--", "make"},
		"no command given: `runtime shell IMAGE` starts a shell":                               {"run", kit.Image},
	} {
		if r := nowhere.run(t, ".", args...); r.Code != 125 || !strings.Contains(r.Err, want) || strings.Count(r.Err, "\n") != 1 {
			t.Errorf("%q: %+v, want %s", args, r, want)
		}
	}
}

// The file is the caller's, or none.
func TestAProjectOfAnother(t *testing.T) {
	p := newProject(t, `image = "`+kit.Image+`"`)
	name := filepath.Join(p.dir, "mayfly.toml")
	if r := p.as(t, kit.Other, "src", "run", "--", "true"); r.Code != 125 || !strings.Contains(r.Err, "is not yours") {
		t.Errorf("another's directory: %+v", r)
	}
	_, own, _ := kit.Lookup(t, kit.User)
	_, other, _ := kit.Lookup(t, kit.Other)
	kit.Must(t, os.Chown(name, int(other), -1))
	if r := p.run(t, "src", "run", "--", "true"); r.Code != 125 || !strings.HasPrefix(r.Err, "runtime: "+name+": it belongs to uid ") || strings.Count(r.Err, "\n") != 1 {
		t.Errorf("another's file: %+v", r)
	}
	kit.Must(t, os.Chown(name, 0, 0))
	if r := p.run(t, ".", "run", "--", "true"); r.Code != 125 || !strings.Contains(r.Err, "it belongs to uid 0") {
		t.Errorf("root's file: %+v", r)
	}
	if r := p.as(t, "root", ".", "run", "--", "true"); r.Code != 125 || !strings.Contains(r.Err, "is not yours") {
		t.Errorf("root in a directory of a user's: %+v", r)
	}
	// A directory of another's ends the search, also in the middle.
	kit.Must(t, errors.Join(os.Chown(name, int(own), -1), os.Chown(filepath.Join(p.dir, "src"), int(other), -1)))
	if r := p.run(t, "src/deep", "run", "--", "true"); r.Code != 125 || !strings.Contains(r.Err, "/src\" is not yours") {
		t.Errorf("a directory of another's between: %+v", r)
	}
	// So does a mount.
	kit.Must(t, os.Chown(filepath.Join(p.dir, "src"), int(own), -1))
	kit.Command(t, "mount", "--bind", filepath.Join(p.dir, "src"), filepath.Join(p.dir, "src"))
	defer kit.Command(t, "umount", filepath.Join(p.dir, "src"))
	if r := p.run(t, "src/deep", "run", "--", "true"); r.Code != 125 || !strings.Contains(r.Err, "to where \""+p.dir+"\" is mounted") {
		t.Errorf("another mount: %+v", r)
	}
}

// What the file asks for, the policy decides on.
func TestAProjectGetsNothingThatFlagsDoNot(t *testing.T) {
	for setting, want := range map[string]string{
		`bind = ["/etc/shadow:/shadow"]`:                 "permission denied",
		`network = "interface:lo"`:                       "only root",
		`image = "no-such-image"`:                        "mayfly.toml:1: unknown image no-such-image",
		"\nimage = \"" + kit.Sealed + "@sha256:000000\"": "mayfly.toml:2: image " + kit.Sealed + "@sha256:000000 is not here: `runtime image sync SOURCE",
		`limits = {memory = "4X"}`:                       "mayfly.toml:1: limits.memory: \"4X\" is not a size",
		`hostname = "a b"`:                               "hostname \"a b\"",
		`env-file = ["nothing"]`:                         "--env-file: open ",
	} {
		text := setting
		if !strings.Contains(setting, "image") {
			text += "\nimage = \"" + kit.Image + "\""
		}
		p := newProject(t, text)
		if r := p.run(t, ".", "run", "--", "true"); r.Code != 125 || !strings.Contains(r.Err, want) || strings.Count(r.Err, "\n") != 1 {
			t.Errorf("%s: %+v, want %s", setting, r, want)
		}
	}
}

func TestAProjectIsPinned(t *testing.T) {
	const name = "pinned"
	t.Cleanup(func() { kit.Root(t, "image", "remove", "--force", name) })
	kit.Succeed(t, "image", "create", name, "--from", kit.Base, "--run", "echo 1 >/srv/version")
	p := newProject(t, "image = \""+name+"\" # the one\n[commands]\nbuild = \"cat /srv/version\"\n")
	if r := p.run(t, ".", "project", "pin", "--check"); r.Code != 125 || !strings.Contains(r.Err, "mayfly.toml:1: the image is pinned, the current version is 1") {
		t.Errorf("%+v", r)
	}
	if r := p.run(t, "src", "project", "pin"); r.Code != 0 || !strings.Contains(r.Out, "version 1; it was pinned") {
		t.Errorf("%+v", r)
	}
	text, err := os.ReadFile(filepath.Join(p.dir, "mayfly.toml"))
	kit.Must(t, err)
	if !strings.HasPrefix(string(text), "image = \"pinned@sha256:") || !strings.HasSuffix(string(text), "\" # the one\n[commands]\nbuild = \"cat /srv/version\"\n") {
		t.Errorf("%s", text)
	}
	if r := p.run(t, ".", "project", "pin", "--check"); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	short := strings.Replace(string(text), string(text)[len("image = \"pinned@sha256:")+12:strings.Index(string(text), "\" #")], "", 1)
	kit.Must(t, os.WriteFile(filepath.Join(p.dir, "mayfly.toml"), []byte(short), 0o644))
	if r := p.run(t, ".", "project", "pin", "--check"); r.Code != 0 {
		t.Errorf("some digits of the current digest: %q: %+v", short, r)
	}
	kit.Succeed(t, "image", "create", name, "--next", "--from", name, "--run", "echo 2 >/srv/version")
	if r := p.run(t, ".", "run", "build"); r.Out != "1\n" {
		t.Errorf("%+v", r)
	}
	if r := p.run(t, ".", "project"); r.Code != 0 || !strings.Contains(r.Out, "version 1; the current one is 2") || !strings.Contains(r.Out, "`runtime run build`") {
		t.Errorf("%+v", r)
	}
	if r := p.run(t, ".", "project", "pin", "--check"); r.Code != 125 || !strings.Contains(r.Err, "the current version is 2") {
		t.Errorf("%+v", r)
	}
	if r := p.run(t, ".", "project", "pin"); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	if r := p.run(t, ".", "run", "build"); r.Out != "2\n" {
		t.Errorf("%+v", r)
	}
	if left, _ := filepath.Glob(filepath.Join(p.dir, ".mayfly*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	kit.Succeed(t, "image", "remove", name)
	if r := p.run(t, ".", "project"); r.Code != 0 || !strings.Contains(r.Out, "unknown image") {
		t.Errorf("%+v", r)
	}
}
