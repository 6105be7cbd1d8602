package image

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mayfly/integration/kit"
)

// withShell runs a test on a store of each kind, with an image base that has a shell.
func withShell(t *testing.T, f func(t *testing.T, s store)) {
	each(t, func(t *testing.T, s store) {
		s.fill(t, "base")
		f(t, s)
	})
}

func TestARecipeOnTopOfAnImage(t *testing.T) {
	withShell(t, func(t *testing.T, s store) {
		dir := t.TempDir()
		write := func(name, text string) string {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			return path
		}
		write("tool", "#!/bin/sh\necho tool\n")
		text := `from = "base"
run = ["id -u >/srv/who; echo $PWD >>/srv/who; /usr/local/bin/tool >/srv/what", "test -w / && touch /srv/second"]
[labels]
team = "build"
[[file]]
path = "/usr/local/bin/tool"
source = "tool"
mode = "0755"
[[file]]
path = "/etc/note"
content = "text"
`
		file := write("image.toml", text)
		s.succeed(t, "image", "create", "made", file)
		root := filepath.Join(s.path, "made", "current")
		for name, want := range map[string]string{"srv/who": "0\n/\n", "srv/what": "tool\n", "etc/note": "text"} {
			if data, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(data) != want {
				t.Errorf("%s: %q, %v; want %q", name, data, err, want)
			}
		}
		out := s.succeed(t, "image", "inspect", "--json", "made")
		for _, want := range []string{`"team": "build"`, `"recipe": "from = \"base\"`, "made from image base", `"parent": "` + s.digest(t, "base") + `"`} {
			if !strings.Contains(out, want) {
				t.Errorf("no %s in %s", want, out)
			}
		}
		if _, err := os.Stat(filepath.Join(s.path, "base", "current", "srv", "who")); err == nil {
			t.Error("the base has changed")
		}
		for bad, err := range map[string]string{
			"from = \"base\"\nrun = [\"exit 3\"]":                                       "error code 3",
			"from = \"none\"":                                                           "unknown image none",
			"from = \"base\"\nsuite = \"bookworm\"":                                     "either suite or from",
			"from = \"base\"\ninclude = [\"git\"]":                                      "belong to suite",
			"from = \"base\"\ncolour = \"red\"":                                         "line 2: there is no setting colour",
			"from = base":                                                               "line 1",
			"from = \"base\"\n[[file]]\npath = \"relative\"":                            "absolute path",
			"from = \"base\"\n[[file]]\npath = \"/x\"\nmode = \"99\"":                   "octal",
			"from = \"base\"\n[[file]]\npath = \"/x\"\nsource = \"none\"":               "no such file",
			"from = \"base\"\n[[file]]\npath = \"/x\"\ncontent = \"a\"\nsource = \"b\"": "exclude each other",
		} {
			r := kit.Root(t, s.on([]string{"image", "create", "bad", write("bad.toml", bad)})...)
			if r.Code != 125 || !strings.Contains(r.Err, err) {
				t.Errorf("%q: %+v, want %q", bad, r, err)
			}
		}
		s.refuse(t, "unknown image bad", "image", "history", "bad")
		s.clean(t)
	})
}

func TestAShellThatIsKeptOrNot(t *testing.T) {
	withShell(t, func(t *testing.T, s store) {
		s.refuse(t, "--keep or --discard", "image", "shell", "base", "--", "true")
		s.succeed(t, "image", "shell", "--discard", "base", "--", "sh", "-c", "touch /srv/x")
		if len(s.history(t, "base")) != 1 {
			t.Errorf("discarded: %+v", s.history(t, "base"))
		}
		failed := kit.Root(t, s.on([]string{"image", "shell", "--keep", "base", "--", "sh", "-c", "touch /srv/x; exit 1"})...)
		if failed.Code != 1 || !strings.Contains(failed.Err, "nothing is kept") {
			t.Errorf("a command that fails: %+v", failed)
		}
		s.succeed(t, "image", "shell", "--keep", "base", "--", "sh", "-c", "touch /srv/x")
		list := s.history(t, "base")
		if len(list) != 2 || !strings.Contains(list[1].Origin, "changed by hand from base@1: sh -c touch /srv/x") {
			t.Errorf("kept: %+v", list)
		}
		if out := s.succeed(t, "image", "diff", "base@1", "base@2"); !strings.Contains(out, "added    /srv/x\n") {
			t.Errorf("diff %q", out)
		}
		s.refuse(t, "is sealed", "run", "--no-ephemeral", "base", "true")
		s.clean(t)
	})
}

func TestAShellAsksOnATerminal(t *testing.T) {
	s := newOverlay(t)
	s.fill(t, "base")
	for versions, answer := range []string{1: "n", 2: "y"} {
		if answer == "" {
			continue
		}
		cmd := exec.Command(kit.Runtime, s.on([]string{"image", "shell", "base"})...)
		cmd.SysProcAttr = &syscall.SysProcAttr{}
		terminal := kit.OnTerminal(t, "root", cmd)
		terminal.Await("# ")
		terminal.Type("touch /srv/answer\rexit\r")
		terminal.Await("[y/N]")
		terminal.Type(answer + "\r")
		if code := terminal.Wait(); code != 0 {
			t.Errorf("answer %s: exit %d, %s", answer, code, terminal.Shows())
		}
		if list := s.history(t, "base"); len(list) != versions {
			t.Errorf("answer %s: %+v", answer, list)
		}
	}
	s.clean(t)
}
