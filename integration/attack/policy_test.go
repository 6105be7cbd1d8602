package attack

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mayfly/integration/kit"
)

const allow = "[[rule]]\nimages = [\"*\"]\n"

func TestC13PolicyFilesOfOthers(t *testing.T) {
	_, uid, _ := kit.Lookup(t, kit.User)
	const drop = "/etc/mayfly/policy.d"
	each(t, func(t *testing.T, w way) {
		for what, spoil := range map[string]func() error{
			"writable by others": func() error { return os.Chmod(dropIn, 0o666) },
			"group-writable":     func() error { return os.Chmod(dropIn, 0o664) },
			"the caller's own":   func() error { return os.Chown(dropIn, int(uid), 0) },
			"a symbolic link":    func() error { return relink(dropIn, "/home/"+kit.User+"/policy.toml") },
			"a link to root's":   func() error { return relink(dropIn, "/etc/mayfly/policy.toml") },
			"a FIFO":             func() error { return first(os.Remove(dropIn), syscall.Mkfifo(dropIn, 0o644)) },
			"a device":           func() error { return first(os.Remove(dropIn), syscall.Mknod(dropIn, syscall.S_IFCHR|0o644, 0x105)) },
			"a directory":        func() error { return first(os.Remove(dropIn), os.Mkdir(dropIn, 0o755)) },
			"1 GiB":              func() error { return os.Truncate(dropIn, 1<<30) },
			"in a directory that others can write to": func() error { return os.Chmod(drop, 0o777) },
			"in a directory of the caller's":          func() error { return os.Chown(drop, int(uid), 0) },
		} {
			rule(t, allow)
			if r := w.run(t, "run", kit.Image, "true"); r.Code != 0 {
				t.Fatalf("in order: %+v", r)
			}
			kit.Must(t, spoil())
			refused(t, what, w.run(t, "run", kit.Image, "true"), "policy")
			kit.Must(t, os.RemoveAll(dropIn))
			kit.Must(t, os.Chown(drop, 0, 0))
			kit.Must(t, os.Chmod(drop, 0o755))
		}
	})
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func relink(name, target string) error { return first(os.Remove(name), os.Symlink(target, name)) }

// A policy that denies is swapped with one of the caller's own making that allows:
// never may the second decide.
func TestC13PolicySwapped(t *testing.T) {
	_, uid, _ := kit.Lookup(t, kit.User)
	each(t, func(t *testing.T, w way) {
		rule(t, "[[rule]]\nimages = [\"*\"]\ndeny = true\n")
		evil := "/etc/mayfly/policy.d/evil"
		write(t, evil, allow)
		kit.Must(t, os.Chown(evil, int(uid), int(uid)))
		defer os.Remove(evil)
		swap := exec.Command(helper, "swap", dropIn, evil)
		kit.Must(t, swap.Start())
		for range kit.Rounds(50, 100) {
			if r := w.run(t, "run", kit.Image, "true"); r.Code != 125 {
				t.Fatalf("it ran: %+v", r)
			}
		}
		_ = swap.Process.Kill()
		_ = swap.Wait()
	})
}

func TestC14BrokenPolicies(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		for text, place := range map[string]string{
			"x = 1\n":                      "00-attack.toml:1:1: unknown key",
			allow + "writable = \"yes\"":   "00-attack.toml:3:1: writable",
			allow + "images = [\"*\"]":     "00-attack.toml:3:1: images is there twice",
			"[[rule]]\nimages = [\"[\"]":   "00-attack.toml:2:1: images",
			"[[rule]]\nimages = [\"*\"":    "00-attack.toml:2:",
			"store = \"/home\"\n":          "00-attack.toml:1:1: store belongs into",
			allow + "\x00":                 "00-attack.toml:3:",
			allow + "users = [\"a\nb\"]\n": "00-attack.toml:3:",
			allow + "[[rule]]\n":           "00-attack.toml:3:",
			strings.Repeat("[", 100000):    "00-attack.toml:1:",
			"x" + strings.Repeat("[", 9):   "00-attack.toml:1:",
		} {
			rule(t, text)
			refused(t, fmt.Sprintf("%.40q", text), w.run(t, "run", kit.Image, "true"), place)
			if r := kit.Root(t, "run", kit.Image, "true"); r.Code != 125 {
				t.Errorf("%.40q: root's containers run: %+v", text, r)
			}
		}
	})
}

func TestTheRuleIsKept(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		srv, work := home(t, kit.User), home(t, kit.User)
		kit.Must(t, os.Symlink(work, filepath.Join(srv, "link")))
		write(t, filepath.Join(work, "file"), "x")
		rule(t, fmt.Sprintf("[[rule]]\nimages=[\"*\"]\nusers=[%q]\nbind-ro=[\"/etc/passwd\"]\nbind=[]\nallow-bind-ro=[%q]\nenv=[\"CI\"]\npersonality=\"x86\"\nlimits.time=%q\ndevices=[\"/dev/loop-control\",\"/dev/nosuch\"]\n"+
			"[[rule]]\nimages=[\"*\"]\ndeny=true\n", kit.User, srv, kit.Within(time.Second)))
		for what, flags := range map[string][]string{
			"--writable": {"--writable"}, "--env-all": {"--env-all"}, "--personality": {"--personality", "x86-64"}, "bind": {"--bind", srv + ":/mnt"},
			"allows --bind-ro only below " + srv: {"--bind-ro", work + ":/mnt"}, "allows --bind-ro only below": {"--bind-ro", srv + "/link:/mnt"},
		} {
			refused(t, what, w.inside(t, "true", append(flags, "--chdir", "/")...), what)
		}
		r := w.inside(t, "uname -m; ls /mnt; ls -l /home | wc -l; ls /dev/loop-control; id -un", "--chdir", "/", "--bind-ro", srv+":/mnt")
		if want := "i686\nlink\n1\n/dev/loop-control\n" + kit.User + "\n"; r.Out != want {
			t.Errorf("%+v, want %q", r, want)
		}
		if r := w.inside(t, "sleep 60", "--chdir", "/", "--timeout", "1h", "--kill-after", "1s"); r.Code != 124 {
			t.Errorf("the time limit: %+v", r)
		}
		refused(t, "another user", kit.Do(t, w.as(t, kit.Other, w.args("run", kit.Image, "true")...)), "denies it")
		kit.Must(t, os.Remove(dropIn))
		rule(t, allow+"network = [\"none\"]\n")
		refused(t, "another network", w.run(t, "run", "--network", "host", kit.Image, "true"), "--network host: not allowed by the policy")
		if r := w.inside(t, "ls /sys/class/net"); r.Out != "lo\n" {
			t.Errorf("the network: %+v", r)
		}
	})
}

// The caller stops the supervisor, which would have kept the time: the container ends
// all the same.
func TestC22StoppedSupervisor(t *testing.T) {
	limit := kit.Within(time.Second)
	eachWaiting(t, func(t *testing.T, w way) {
		rule(t, allow+fmt.Sprintf("limits.time = %q\n", limit))
		cmd := w.cmd(t, "run", "--kill-after", "0s", kit.Image, "sleep", "300")
		kit.Must(t, cmd.Start())
		supervisor := supervisorOf(t, cmd)
		init := kit.Inits(t)[0]
		for _, signal := range []string{"-STOP", "-KILL"} {
			if r := kit.Do(t, kit.As(t, kit.User, "kill", signal, init)); r.Code == 0 {
				t.Errorf("the caller can kill %s PID 1", signal)
			}
		}
		if r := kit.Do(t, kit.As(t, kit.User, "kill", "-STOP", fmt.Sprint(supervisor))); r.Code != 0 {
			t.Fatalf("%+v", r)
		}
		kit.Eventually(t, "the container ends", func() bool { return len(kit.Inits(t)) == 0 })
		kit.Must(t, syscall.Kill(supervisor, syscall.SIGCONT))
		_ = cmd.Process.Signal(syscall.SIGCONT) // sudo stops with what it has started
		_ = cmd.Wait()
		var plan struct{ Timeout, KillAfter time.Duration }
		r := w.run(t, "run", "--dry-run", "--timeout", "99h", "--kill-after", "1000h", kit.Image, "true")
		if err := json.Unmarshal([]byte(r.Out), &plan); err != nil || plan.Timeout != limit || plan.KillAfter != 10*time.Second {
			t.Errorf("%v, %+v", err, plan)
		}
	})
}

func TestC22PastTheLimit(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		rule(t, allow+"limits.containers = 5\n")
		long := make([]*exec.Cmd, 5)
		for i := range long {
			long[i] = w.cmd(t, "run", "--name", fmt.Sprintf("long%d", i), kit.Image, "sleep", "300")
			kit.Must(t, long[i].Start())
		}
		kit.Eventually(t, "five run", func() bool { return len(kit.Inits(t)) == 5 })
		var group sync.WaitGroup
		for range kit.Rounds(100, 500) {
			group.Go(func() {
				refused(t, "one more", w.run(t, "run", kit.Image, "true"), "you already run 5 of 5 containers")
			})
		}
		served := 0
		for range 10 {
			if r := kit.Do(t, w.as(t, kit.Other, w.args("run", kit.Image, "true")...)); r.Code == 0 {
				served++
			}
		}
		group.Wait()
		if served != 10 {
			t.Errorf("others were served %d times of 10", served)
		}
		for _, pid := range kit.Inits(t) {
			_ = exec.Command("kill", "-TERM", fmt.Sprint(parentOf(pid))).Run()
		}
		for _, cmd := range long {
			_ = cmd.Wait()
		}
		kit.Eventually(t, "all have ended", func() bool { return len(kit.Inits(t)) == 0 })
		time.Sleep(kit.Within(100 * time.Millisecond))
		if r := w.run(t, "run", kit.Image, "true"); r.Code != 0 {
			t.Errorf("after they have ended: %+v", r)
		}
	})
}
