package attack

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mayfly/integration/kit"
)

func TestC19Groups(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		outside := kit.Do(t, kit.As(t, kit.User, "sh", "-c", "id -u; id -g; id -G | tr ' ' '\\n' | sort"))
		inside := w.inside(t, "id -u; id -g; id -G | tr ' ' '\\n' | sort")
		if inside.Out != outside.Out || inside.Code != 0 {
			t.Errorf("inside %+v, outside %+v", inside, outside)
		}
		// A group that denies: who is in it must not lose it.
		r := w.inside(t, "grep ^Groups /proc/self/status; unshare -U true; unshare -r true; setpriv --clear-groups true; newgrp daemon </dev/null; sg root -c id")
		if strings.Contains(r.Out, "uid=0") || strings.Contains(r.Out, "gid=0") || strings.Count(r.Err, "\n") < 4 {
			t.Errorf("%+v", r)
		}
		dir := home(t, kit.User)
		denied := filepath.Join(dir, "denied")
		write(t, denied, "for all but the group")
		kit.Must(t, os.Chmod(denied, 0o604))
		kit.Must(t, exec.Command("chgrp", kit.Group, denied).Run())
		if r := w.inside(t, "cat "+denied); r.Code == 0 {
			t.Errorf("the group's denial is gone: %+v", r)
		}
		if w.name == "sudo" || w.name == "ambient" {
			return
		}
		// Whatever groups the kernel knows, not those of a database.
		cmd := w.cmd(t, "run", kit.Image, "id", "-G")
		cmd.SysProcAttr.Credential.Groups = []uint32{54321}
		if r := kit.Do(t, cmd); !strings.Contains(r.Out, "54321") || strings.Contains(r.Out, "1001 ") && len(strings.Fields(r.Out)) != 2 {
			t.Errorf("groups of the kernel's: %+v", r)
		}
	})
}

func TestC20OthersContainers(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		cmd := w.cmd(t, "run", "--name", "mine", kit.Image, "sh", "-c", "echo ready; sleep 60; echo survived")
		kit.Must(t, cmd.Start())
		supervisor := supervisorOf(t, cmd)
		_, uid, _ := kit.Lookup(t, kit.User)
		record := fmt.Sprintf("/run/mayfly/%d/mine", uid)
		kit.Must(t, statOf(record))
		for _, who := range []string{kit.Other, kit.User} {
			for _, script := range []string{
				"cat " + record, "ls /run/mayfly/" + fmt.Sprint(uid), "rm -f " + record, "echo forged >" + record, "ln -s /etc/passwd /run/mayfly/x", "mkdir /run/mayfly/9999",
				"ls /var/lib/machines/.mayfly", fmt.Sprintf("cat /var/lib/machines/.mayfly/%d.mine.*/etc/shadow", uid),
			} {
				if r := kit.Do(t, kit.As(t, who, "sh", "-c", script)); r.Code == 0 {
					t.Errorf("%s can %s: %+v", who, script, r)
				}
			}
		}
		for _, pid := range append(kit.Inits(t), fmt.Sprint(supervisor)) {
			if r := kit.Do(t, kit.As(t, kit.Other, "kill", "-9", pid)); r.Code == 0 {
				t.Errorf("another user can kill %s", pid)
			}
		}
		for _, args := range [][]string{{"gc"}, {"image", "list"}} {
			if r := kit.Do(t, w.as(t, kit.Other, w.args(args...)...)); r.Code != 0 {
				t.Errorf("%v: %+v", args, r)
			}
		}
		refused(t, "the name again", w.run(t, "run", "--name", "mine", kit.Image, "true"), "in use")
		// Names are each user's own.
		if r := kit.Do(t, w.as(t, kit.Other, w.args("run", "--name", "mine", kit.Image, "true")...)); r.Code != 0 {
			t.Errorf("another user's container of that name: %+v", r)
		}
		kit.Must(t, statOf(record))
		if len(kit.Inits(t)) != 1 || len(kit.Snapshots(t, kit.Store)) != 1 {
			t.Error("the container did not survive")
		}
		_ = syscall.Kill(supervisor, syscall.SIGTERM)
		_ = cmd.Wait()
	})
}

func statOf(name string) error {
	_, err := os.Stat(name)
	return err
}

// A state directory that is not root's, or not a directory, is not used; records that a
// dead process left, or that lie, harm nobody.
func TestC20ForgedState(t *testing.T) {
	_, uid, _ := kit.Lookup(t, kit.User)
	own := fmt.Sprintf("/run/mayfly/%d", uid)
	each(t, func(t *testing.T, w way) {
		victim := home(t, kit.User)
		for what, spoil := range map[string]func() error{
			"a link":         func() error { return os.Symlink(victim, "/run/mayfly") },
			"the caller's":   func() error { return first(os.Mkdir("/run/mayfly", 0o755), os.Chown("/run/mayfly", int(uid), -1)) },
			"writable":       func() error { return first(os.Mkdir("/run/mayfly", 0o777), os.Chmod("/run/mayfly", 0o777)) },
			"a file":         func() error { return os.WriteFile("/run/mayfly", nil, 0o644) },
			"a linked owner": func() error { return first(os.Mkdir("/run/mayfly", 0o755), os.Symlink(victim, own)) },
		} {
			kit.Must(t, os.RemoveAll("/run/mayfly"))
			kit.Must(t, spoil())
			refused(t, what, w.run(t, "run", kit.Image, "true"), "state directory")
			kit.Must(t, os.RemoveAll("/run/mayfly"))
		}
		kit.Must(t, os.MkdirAll(filepath.Dir(own), 0o755))
		kit.Must(t, os.MkdirAll(own, 0o700))
		kit.Must(t, os.Symlink("/etc/passwd", own+"/taken"))
		refused(t, "a link for a record", w.run(t, "run", "--name", "taken", kit.Image, "true"), "record container taken")
		kit.Must(t, os.Remove(own+"/taken"))
		write(t, own+"/taken", `{"name":"../../../etc","pid":1,"root":"/etc"}`)
		write(t, own+"/other", "\x00 not a record")
		if r := w.run(t, "run", "--name", "taken", kit.Image, "true"); r.Code != 0 {
			t.Errorf("a dead one's record: %+v", r)
		}
		gc(t)
		kit.Must(t, os.RemoveAll("/run/mayfly"))
		if err := statOf("/etc/passwd"); err != nil {
			t.Fatal(err)
		}
	})
}

func TestC21TheSameNameAtOnce(t *testing.T) {
	long := fmt.Sprint(kit.Within(1500 * time.Millisecond).Seconds())
	together(t, func(t *testing.T, w way) {
		var group sync.WaitGroup
		users, won := []string{kit.User, kit.Other}, [2]int{}
		results := make([]kit.Result, 24)
		for i := range results {
			group.Go(func() {
				results[i] = kit.Do(t, w.as(t, users[i%2], w.args("run", "--name", "same-"+w.name, kit.Image, "sleep", long)...))
			})
		}
		group.Wait()
		for i, r := range results {
			if r.Code == 0 {
				won[i%2]++
				continue
			}
			refused(t, "who comes second", r, "in use")
		}
		if won != [2]int{1, 1} {
			t.Errorf("of two users %v have the name, want one container of each", won)
		}
	})
	kit.NothingLeft(t)
}

func TestC29WithoutAGrant(t *testing.T) {
	data, err := os.ReadFile(kit.Runtime)
	kit.Must(t, err)
	copied := filepath.Join(home(t, kit.User), "runtime")
	kit.Must(t, os.WriteFile(copied, data, 0o755))
	// The system's images are not to be had. (What is: integration/unprivileged.)
	for _, args := range [][]string{{"run", kit.Image, "true"}, {"shell", kit.Image}, {"run", "--dry-run", kit.Image, "true"}, {"image", "verify", kit.Image}, {"run", "--store", kit.Store, kit.Image, "true"}} {
		cmd := kit.As(t, kit.User, append([]string{copied}, args...)...)
		cmd.Env = append(cmd.Env, "XDG_DATA_HOME="+home(t, kit.User))
		refused(t, strings.Join(args, " "), kit.Do(t, cmd), "")
	}
	refused(t, "as-caller", kit.Do(t, kit.As(t, kit.User, copied, "as-caller", "run", kit.Image, "true")), "sudoers")
	refused(t, "grant", kit.Do(t, kit.As(t, kit.User, copied, "grant")), "only root")
	for _, args := range [][]string{{"version"}, {"policy", "check"}, {"policy", "explain", kit.Image}, {"--help"}} {
		if r := kit.Do(t, kit.As(t, kit.User, append([]string{copied}, args...)...)); r.Code != 0 {
			t.Errorf("%v: %+v", args, r)
		}
	}
	// Root does not grant what somebody else can change.
	refused(t, "grant to a user's file", kit.Root(t, "grant", copied), "on the way to "+copied)
	kit.NothingLeft(t)
}

// sudoCrashes tells whether sudo ends by a fault of its own where there is no
// environment, as Debian 13's 1.9.16 does.
func sudoCrashes(t *testing.T) bool {
	t.Helper()
	return kit.Do(t, kit.As(t, kit.User, "env", "-i", "/usr/bin/sudo", "-V")).Code == 128+int(syscall.SIGSEGV)
}

func TestC30UnderTheCallersControl(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		_, uid, _ := kit.Lookup(t, kit.User)
		run := w.args("run", kit.Image, "id", "-u")
		for what, before := range map[string][]string{
			"ptrace":                    {helper, "traced"},
			"no_new_privs":              {helper, "start", "nnp", "--"},
			"a user namespace":          {"unshare", "--user"},
			"a user namespace, as root": {"unshare", "--user", "--map-root-user"},
			"and a mount namespace":     {"unshare", "--user", "--map-root-user", "--mount"},
			"and a PID namespace":       {"unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"},
			"a chroot of the caller's":  {"unshare", "--user", "--map-root-user", "chroot", "/"},
			"strace":                    {"strace", "-o", "/dev/null"},
			"ld.so":                     {"/lib64/ld-linux-x86-64.so.2"},
			"an empty environment":      {"env", "-i"},
			"a session of its own":      {"setsid", "--wait"},
		} {
			if _, err := exec.LookPath(before[0]); err != nil {
				t.Fatal(err)
			}
			r := kit.Do(t, w.as(t, kit.User, slices.Concat(before, run)...))
			switch {
			case r.Code == 0 && strings.TrimSpace(r.Out) == fmt.Sprint(uid):
				// Safe: the same container as without.
			case what == "an empty environment" && w.name == "sudo" && r.Code == 128+int(syscall.SIGSEGV) && r.Out == "" && sudoCrashes(t):
				// Safe: it is sudo that ends so.
			case r.Code == 0 || r.Out != "" || r.Err == "":
				t.Errorf("%s: %+v", what, r)
			case w.name != "sudo" && before[0] != "/lib64/ld-linux-x86-64.so.2" && r.Code != 125:
				t.Errorf("%s: %+v, want 125", what, r)
			}
		}
		// As root of a user namespace, with a policy of the caller's own in its place.
		dir := home(t, kit.User)
		write(t, filepath.Join(dir, "policy.toml"), allow+"bind = [\"/root\"]\n")
		kit.Must(t, exec.Command("chown", "-R", kit.User, dir).Run())
		r := kit.Do(t, w.as(t, kit.User, "unshare", "--user", "--map-root-user", "--mount", "sh", "-c", "mount --bind "+dir+" /etc/mayfly && exec "+strings.Join(w.args("run", kit.Image, "ls", "/root"), " ")))
		if r.Code == 0 || r.Out != "" {
			t.Errorf("a policy of the caller's own: %+v", r)
		}
	})
}
