package attack

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mayfly/integration/kit"
)

// listed finds a container in what root sees.
func listed(t *testing.T, name string) (found bool, c struct {
	Name       string
	Command    []string
	CommandCut bool
}) {
	t.Helper()
	var list []json.RawMessage
	kit.Must(t, json.Unmarshal([]byte(kit.Succeed(t, "ps", "--all-users", "--json")), &list))
	for _, one := range list {
		kit.Must(t, json.Unmarshal(one, &c))
		if c.Name == name {
			return true, c
		}
	}
	return false, c
}

// A command line of a megabyte, of characters of which each takes six in a record,
// hides nothing and fills nothing.
func TestC32LongCommands(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		args := []string{"run", "--name", "long", kit.Image, "sh", "-c", "sleep 600", "sh"}
		for range 12 {
			args = append(args, strings.Repeat("\x01", 120_000))
		}
		cmd := w.cmd(t, args...)
		begin(t, cmd)
		supervisorOf(t, cmd)
		kit.Eventually(t, "root sees it", func() bool { found, _ := listed(t, "long"); return found })
		if _, c := listed(t, "long"); !c.CommandCut || len(c.Command) < 3 || c.Command[2] != "sleep 600" {
			t.Errorf("%+v", c)
		}
		size := 0
		names, err := filepath.Glob("/run/mayfly/*/[^.]*")
		kit.Must(t, err)
		for _, name := range names {
			info, err := os.Lstat(name)
			kit.Must(t, err)
			size += int(info.Size())
		}
		if size > 8<<10 {
			t.Errorf("records of %d bytes", size)
		}
		if r := kit.Root(t, "kill", "--signal", "KILL", kit.User+"/long"); r.Code != 0 {
			t.Errorf("root cannot kill it: %+v", r)
		}
		_ = cmd.Wait()
	})
}

// The limits of the caller, set before the launch or on the running supervisor, cut no
// record.
func TestC32FileSizeLimits(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		for _, size := range []string{"600", "100"} {
			cmd := w.as(t, kit.User, append([]string{"prlimit", "--fsize=" + size}, w.args("run", "--name", "small", kit.Image, "sleep", "600")...)...)
			begin(t, cmd)
			ended := make(chan struct{})
			go func() { _ = cmd.Wait(); close(ended) }()
			kit.Eventually(t, "it is seen, or has not begun", func() bool {
				select {
				case <-ended:
					return true
				default:
					found, _ := listed(t, "small")
					return found
				}
			})
			if r := kit.Root(t, "kill", kit.User+"/small"); r.Code != 0 && kit.Code(cmd.ProcessState) == 0 {
				t.Errorf("--fsize=%s: %+v", size, r)
			}
			<-ended
			gc(t)
		}
		cmd := w.cmd(t, "run", "--name", "later", kit.Image, "sleep", "600")
		begin(t, cmd)
		supervisor := supervisorOf(t, cmd)
		kit.Must(t, kit.As(t, kit.User, "prlimit", "--pid", fmt.Sprint(supervisor), "--fsize=0:0").Run())
		if found, _ := listed(t, "later"); !found {
			t.Error("root does not see it")
		}
		if r := kit.Do(t, w.as(t, kit.User, append([]string{"prlimit", "--fsize=100"}, w.args("session", "begin", "--name", "small", kit.Image)...)...)); r.Code == 0 {
			if out := kit.Succeed(t, "session", "list", "--all-users", "--names"); !strings.Contains(out, "small") {
				t.Errorf("a session that nobody sees: %q", out)
			}
			_ = w.run(t, "session", "end", "small")
		}
		_ = syscall.Kill(supervisor, syscall.SIGTERM)
		_ = cmd.Wait()
	})
}

// A record that says nothing, of a container that lives, is listed by its name and can
// be killed.
func TestC32RecordThatSaysNothing(t *testing.T) {
	_, uid, _ := kit.Lookup(t, kit.User)
	each(t, func(t *testing.T, w way) {
		cmd := w.cmd(t, "run", "--name", "mute", kit.Image, "sleep", "600")
		begin(t, cmd)
		supervisorOf(t, cmd)
		kit.Eventually(t, "root sees it", func() bool { found, _ := listed(t, "mute"); return found })
		kit.Must(t, os.Remove(fmt.Sprintf("/run/mayfly/%d/=mute", uid)))
		if found, _ := listed(t, "mute"); !found {
			t.Error("it is not listed")
		}
		if r := kit.Root(t, "kill", "--signal", "KILL", kit.User+"/mute"); r.Code != 0 {
			t.Errorf("root cannot kill it: %+v", r)
		}
		_ = cmd.Wait()
		gc(t)
	})
}

// What is written of a version can be read again: a recipe of the greatest size, of
// characters that JSON likes to write in six.
func TestC32RecordsOfVersions(t *testing.T) {
	recipe := filepath.Join(t.TempDir(), "recipe.toml")
	text := "from = \"" + kit.Sealed + "\"\n# "
	kit.Must(t, os.WriteFile(recipe, []byte(text+strings.Repeat("<", 1<<20-len(text)-1)+"\n"), 0o644))
	if out, err := exec.Command(kit.Runtime, "image", "create", "attack-recipe", recipe).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { kit.Succeed(t, "image", "remove", "attack-recipe") })
	for _, args := range []string{"image history attack-recipe", "image inspect attack-recipe", "image list", "run --chdir / attack-recipe true"} {
		if r := kit.Root(t, strings.Fields(args)...); r.Code != 0 || strings.Contains(r.Out, "unusable") {
			t.Errorf("%s: %.300s", args, r.Out+r.Err)
		}
	}
}
