// Package unprivileged tests containers without a grant: in a user namespace of the
// caller's own, with images of their own.
package unprivileged

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mayfly/integration/kit"
)

const (
	// bare is a copy of the binary that is granted nothing.
	bare = "/usr/local/lib/mayfly-unprivileged/runtime"
	// single is a user who has no subordinate ids.
	single = "mayfly-single"
)

func TestMain(m *testing.M) {
	if os.Getenv("MAYFLY_INTEGRATION") != "" {
		if err := setUp(); err != nil {
			fmt.Println("FAIL:", err)
			os.Exit(1)
		}
	}
	kit.Main(m, func() {
		kit.RemoveOwnImages(kit.User)
		_ = os.RemoveAll(filepath.Dir(bare))
		_ = exec.Command("userdel", "--remove", single).Run()
	})
}

func setUp() error {
	script := fmt.Sprintf("install -D -m 0755 %s %s; id %s >/dev/null 2>&1 || useradd --create-home %[3]s; sed -i /^%[3]s:/d /etc/subuid /etc/subgid",
		kit.Runtime, bare, single)
	if out, err := exec.Command("sh", "-ec", script).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// users are one with subordinate ids and one without.
var users = []string{kit.User, single}

func each(t *testing.T, test func(t *testing.T, user string)) {
	t.Helper()
	for _, user := range users {
		t.Run(user, func(t *testing.T) {
			kit.OwnImage(t, user)
			test(t, user)
			nothingLeft(t, user)
		})
	}
}

// nothingLeft looks for copies, records and processes.
func nothingLeft(t *testing.T, user string) {
	t.Helper()
	own := ownDirectory(t, user)
	for _, pattern := range []string{"images/.mayfly/*", "images/.mayfly/.*", "run/*/*", "run/*/.*"} {
		if left, err := filepath.Glob(filepath.Join(own, pattern)); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	}
	kit.NothingLeft(t)
}

func ownDirectory(t testing.TB, user string) string {
	t.Helper()
	u, _, _ := kit.Lookup(t, user)
	return filepath.Join(u.HomeDir, ".local/share/mayfly")
}

func do(t testing.TB, user string, args ...string) kit.Result {
	t.Helper()
	return kit.Do(t, kit.As(t, user, slices.Concat([]string{bare}, args)...))
}

// inside runs a shell script in a container.
func inside(t testing.TB, user, script string, flags ...string) kit.Result {
	t.Helper()
	return do(t, user, slices.Concat([]string{"run", "--quiet"}, flags, []string{kit.Image, "/bin/sh", "-c", script})...)
}

// start starts a container that waits, and returns when its command runs.
func start(t testing.TB, user string, flags ...string) *exec.Cmd {
	t.Helper()
	cmd := kit.As(t, user, slices.Concat([]string{bare, "run", "--quiet"}, flags, []string{kit.Image, "/bin/sh", "-c", "echo here; exec sleep 60"})...)
	out, err := cmd.StdoutPipe()
	kit.Must(t, err)
	kit.Must(t, cmd.Start())
	var here [5]byte
	_, err = out.Read(here[:])
	kit.Must(t, err)
	return cmd
}

func TestItIsTheSameContainer(t *testing.T) {
	// What only differs by the network's devices and by the kernel's name for a mount
	// is left out.
	const script = `id -u; id -g; id -un; pwd; umask; hostname | sed 's/-[0-9a-f]*$//'; env | grep -v ^MAYFLY_ | sort
		grep -E '^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status; set -- /proc/[0-9]*; echo $#; ls /dev; ls -ld /dev/pts /dev/shm /tmp /run
		touch /usr/x /etc/passwd 2>&1 | sort; touch ~/made && stat -c %U:%G:%a ~/made; rm ~/made; tty; cat /etc/hosts | tail -n 1 | cut -c1-10`
	kit.OwnImage(t, kit.User)
	own, granted := inside(t, kit.User, script), kit.Inside(t, script, "--quiet")
	if own.Out != granted.Out || own.Code != 0 || own.Err != granted.Err {
		t.Errorf("%s\n%s\nwith a grant\n%s\n%s", own.Out, own.Err, granted.Out, granted.Err)
	}
	nothingLeft(t, kit.User)
}

func TestTheSystemsFilesAreRoots(t *testing.T) {
	const script = "stat -c %U:%G / /usr/bin/passwd /etc/shadow /var/mail"
	kit.OwnImage(t, kit.User)
	if r := inside(t, kit.User, script); r.Out != "root:root\nroot:root\nroot:shadow\nroot:mail\n" {
		t.Errorf("%+v", r)
	}
	kit.OwnImage(t, single)
	if r := inside(t, single, "stat -c %U /usr/bin/passwd /etc/shadow; touch /usr/x", "--chdir", "/"); r.Out != single+"\n"+single+"\n" || !strings.Contains(r.Err, "Read-only file system") {
		t.Errorf("%+v", r)
	}
}

func TestWritesAreThrownAway(t *testing.T) {
	each(t, func(t *testing.T, user string) {
		if r := inside(t, user, "touch /tmp/x /var/tmp/x; touch /usr/x 2>/dev/null; echo $?", "--writable"); r.Code != 0 || r.Out == "" {
			t.Errorf("%+v", r)
		}
		if r := inside(t, user, "ls /usr/x /tmp/x /var/tmp/x 2>/dev/null; echo $?", "--writable"); r.Out != "2\n" {
			t.Errorf("%+v", r)
		}
	})
}

func TestExitStatusAndSignals(t *testing.T) {
	each(t, func(t *testing.T, user string) {
		if r := inside(t, user, "exit 7"); r.Code != 7 {
			t.Errorf("%+v", r)
		}
		if r := do(t, user, "run", "--quiet", kit.Image, "/nonexistent"); r.Code != 127 {
			t.Errorf("%+v", r)
		}
		for signal, code := range map[syscall.Signal]int{syscall.SIGTERM: 143, syscall.SIGINT: 130} {
			cmd := start(t, user)
			kit.Must(t, cmd.Process.Signal(signal))
			_ = cmd.Wait()
			if got := kit.Code(cmd.ProcessState); got != code {
				t.Errorf("%v: exit status %d, want %d", signal, got, code)
			}
		}
		if r := do(t, user, "run", "--quiet", "--timeout", "500ms", kit.Image, "sleep", "60"); r.Code != 124 {
			t.Errorf("%+v", r)
		}
	})
}

// A supervisor that is killed takes its container along; the next launch removes the
// copy.
func TestTheSupervisorIsKilled(t *testing.T) {
	each(t, func(t *testing.T, user string) {
		cmd := start(t, user, "--writable")
		kit.Must(t, cmd.Process.Kill())
		_ = cmd.Wait()
		kit.Eventually(t, "no PID 1 is left", func() bool { return len(kit.Inits(t)) == 0 })
		if r := do(t, user, "gc"); r.Code != 0 || !strings.HasPrefix(r.Out, "removed "+kit.Image) {
			t.Errorf("%+v", r)
		}
	})
}

func TestJoinAndEnd(t *testing.T) {
	each(t, func(t *testing.T, user string) {
		cmd := kit.As(t, user, bare, "run", "--quiet", "--name", "one", kit.Image, "sleep", "60")
		kit.Must(t, cmd.Start())
		kit.Eventually(t, "it can be joined", func() bool { return do(t, user, "exec", "one", "true").Code == 0 })
		if r := do(t, user, "exec", "one", "sh", "-c", "id -un; cat /proc/1/comm"); r.Out != user+"\nmayfly-init\n" {
			t.Errorf("%+v", r)
		}
		if r := do(t, user, "ps"); !strings.Contains(r.Out, "one ") {
			t.Errorf("%+v", r)
		}
		// On the host there is none of it.
		if r := kit.Do(t, kit.As(t, user, kit.Runtime, "ps")); strings.Contains(r.Out, "one ") {
			t.Errorf("%+v", r)
		}
		if r := do(t, user, "kill", "one"); r.Code != 0 {
			t.Errorf("%+v", r)
		}
		_ = cmd.Wait()
		if got := kit.Code(cmd.ProcessState); got != 143 {
			t.Errorf("exit status %d", got)
		}
	})
}

func TestSessions(t *testing.T) {
	each(t, func(t *testing.T, user string) {
		if r := do(t, user, "session", "begin", "--name", "s", kit.Image); r.Code != 0 {
			t.Fatalf("%+v", r)
		}
		write := []string{"run", "--quiet", "--session", "s", "--", "sh", "-c", "echo kept >/home/kept-in-session 2>/dev/null || echo kept >/srv/kept"}
		if user != single { // to whom nothing but their own belongs
			write = slices.Insert(write, 1, "--root")
		}
		if r := do(t, user, write...); r.Code != 0 {
			t.Errorf("%+v", r)
		}
		if r := do(t, user, "run", "--quiet", "--session", "s", "--", "cat", "/srv/kept"); r.Out != "kept\n" {
			t.Errorf("%+v", r)
		}
		if r := do(t, user, "session", "end", "s"); r.Code != 0 {
			t.Errorf("%+v", r)
		}
	})
}

func TestRootInside(t *testing.T) {
	kit.OwnImage(t, kit.User)
	for script, want := range map[string]string{
		"id -u; stat -c %U /etc/shadow; touch /srv/f; chown daemon:mail /srv/f; stat -c %U:%G /srv/f": "0\nroot\ndaemon:mail\n",
		"useradd -M newone && id -un newone": "newone\n",
		"mount -t tmpfs x /mnt 2>/dev/null || echo denied; mknod /srv/m c 1 1 2>/dev/null || echo denied; unshare -m true 2>/dev/null || echo denied": "denied\ndenied\ndenied\n",
		"ls /proc/1/root/ /proc/1/fd/ 2>/dev/null; kill -9 1; echo alive":                                                                             "alive\n",
		"grep -E '^Cap(Eff|Bnd)' /proc/self/status | tr -d '\\t'":                                                                                     "CapEff:00000000800401fb\nCapBnd:00000000800401fb\n",
		"apt-get --version >/dev/null && dpkg --audit; echo $?":                                                                                       "0\n",
	} {
		if r := inside(t, kit.User, script, "--root", "--writable", "--chdir", "/"); r.Out != want {
			t.Errorf("%s: %+v", script, r)
		}
	}
	nothingLeft(t, kit.User)
}

func TestOwnNetwork(t *testing.T) {
	each(t, func(t *testing.T, user string) {
		if r := inside(t, user, "ls /sys/class/net; tail -n +3 /proc/net/dev | wc -l", "--network", "none"); r.Out != "lo\n1\n" {
			t.Errorf("%+v", r)
		}
	})
}

// What is weaker is said once, in one line.
func TestWhatIsWeaker(t *testing.T) {
	for user, want := range map[string]string{kit.User: "no grant", single: "no subordinate ids"} {
		kit.OwnImage(t, user)
		r := do(t, user, "run", kit.Image, "true")
		if r.Code != 0 || strings.Count(r.Err, "\n") != 1 || !strings.Contains(r.Err, want) {
			t.Errorf("%+v", r)
		}
		if r := do(t, user, "run", "--quiet", kit.Image, "true"); r.Code != 0 || r.Err != "" {
			t.Errorf("%+v", r)
		}
	}
}

// The binary that has a grant does without, if asked.
func TestAsked(t *testing.T) {
	kit.OwnImage(t, kit.User)
	r := kit.Run(t, "run", "--unprivileged", "--quiet", kit.Image, "cat", "/proc/self/uid_map")
	if r.Code != 0 || strings.Count(r.Out, "\n") != 3 {
		t.Errorf("%+v", r)
	}
	refused(t, "root", kit.Root(t, "run", "--unprivileged", kit.Image, "true"), "root, who needs no grant")
	nothingLeft(t, kit.User)
}

func TestRefusals(t *testing.T) {
	each(t, func(t *testing.T, user string) {
		for _, c := range []struct {
			flag, value, why string
		}{
			{"--memory", "100M", "not possible without a grant"},
			{"--tasks", "10", "not possible without a grant"},
			{"--network", "private", "not possible without a grant"},
			{"--user", "root", "only root"},
			{"--bind", "/root:/mnt", "permission denied"},
		} {
			refused(t, c.flag, do(t, user, "run", "--quiet", c.flag, c.value, kit.Image, "true"), c.why)
		}
		refused(t, "an image of the system's", do(t, user, "run", "nosuch", "true"), "without a grant images are your own")
	})
	refused(t, "--root", do(t, single, "run", "--quiet", "--root", kit.Image, "true"), "no subordinate ids for "+single)
}

// with changes a file of the host for a test.
func with(t *testing.T, file string, change func(text string) string) {
	t.Helper()
	data, err := os.ReadFile(file)
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, os.WriteFile(file, data, 0o644)) })
	kit.Must(t, os.WriteFile(file, []byte(change(string(data))), 0o644))
}

func TestSubordinateIDs(t *testing.T) {
	kit.OwnImage(t, kit.User)
	line := regexp.MustCompile("(?m)^" + kit.User + ":.*$")
	for what, c := range map[string]struct{ to, why string }{
		"a range that is too small": {kit.User + ":300000:1000", "gives 1000 in a row"},
		"another user's":            {kit.User + ":300000:65536\n" + kit.Other + ":300000:65536", "partly another user's"},
		"none":                      {"", "gives none"},
	} {
		t.Run(what, func(t *testing.T) {
			with(t, "/etc/subuid", func(text string) string { return line.ReplaceAllString(text, c.to) })
			refused(t, what, do(t, kit.User, "run", "--quiet", "--root", "--store", "/nonexistent", kit.Image, "true"), c.why)
		})
	}
	t.Run("newuidmap is missing", func(t *testing.T) {
		cmd := kit.As(t, kit.User, bare, "run", "--quiet", "--root", kit.Image, "true")
		cmd.Env = append(cmd.Env, "PATH=/nonexistent")
		refused(t, "newuidmap", kit.Do(t, cmd), "apt-get install uidmap")
	})
	t.Run("newuidmap fails", func(t *testing.T) {
		dir := t.TempDir()
		kit.Must(t, os.Chmod(dir, 0o755))
		kit.Must(t, os.Chmod(filepath.Dir(dir), 0o755))
		for _, name := range []string{"newuidmap", "newgidmap"} {
			kit.Must(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\nexit 1\n"), 0o755))
		}
		cmd := kit.As(t, kit.User, bare, "run", "--quiet", kit.Image, "true")
		cmd.Env = append(cmd.Env, "PATH="+dir+":/usr/bin:/bin")
		if r := kit.Do(t, cmd); r.Code != 125 || !strings.Contains(r.Err, "are the ids in /etc/subuid and /etc/subgid yours") {
			t.Errorf("%+v", r)
		}
	})
	nothingLeft(t, kit.User)
}

func TestUserNamespacesAreOff(t *testing.T) {
	kit.OwnImage(t, kit.User)
	// In a user namespace with the host's ids, whose root may set the limit.
	const limited = `echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --reuid="$0" --regid="$0" --init-groups --inh-caps=-all "$@"`
	for _, args := range [][]string{{"run", kit.Image, "true"}, {"image", "list"}, {"run", "--unprivileged", kit.Image, "true"}} {
		cmd := exec.Command("sh", slices.Concat([]string{"-ec", limited, kit.User, bare}, args)...)
		cmd.SysProcAttr = system()
		refused(t, strings.Join(args, " "), kit.Do(t, cmd), "user.max_user_namespaces is 0")
	}
	nothingLeft(t, kit.User)
}

// system makes a user namespace with the ids of the host.
func system() *syscall.SysProcAttr {
	ids := []syscall.SysProcIDMap{{Size: 65536}}
	return &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true}
}

func TestThePolicyForbids(t *testing.T) {
	kit.OwnImage(t, kit.User)
	with(t, "/etc/mayfly/policy.toml", func(text string) string { return "unprivileged = false\n" + text })
	refused(t, "run", do(t, kit.User, "run", kit.Image, "true"), "unprivileged = false")
	refused(t, "ps", do(t, kit.User, "ps"), "unprivileged = false")
	refused(t, "asked", kit.Run(t, "run", "--unprivileged", kit.Image, "true"), "unprivileged = false")
}

// Images are made and changed as by root, and what is written for the user is theirs.
func TestImages(t *testing.T) {
	each(t, func(t *testing.T, user string) {
		defer do(t, user, "image", "remove", "changed")
		archive := filepath.Join(filepath.Dir(filepath.Dir(filepath.Dir(ownDirectory(t, user)))), "changed image.tar")
		defer os.Remove(archive)
		for _, args := range [][]string{
			{"create", "changed", "--from", kit.Image, "--run", "echo made >/srv/made && rm -rf /usr/share /usr/include /usr/lib/gcc"},
			{"shell", "--keep", "changed", "--", "sh", "-c", "id -u >>/srv/made"},
			{"verify", "changed"}, {"verify", "changed@1"},
			{"export", "changed", archive},
			{"remove", "changed"},
			{"import", "changed", archive},
		} {
			if r := do(t, user, append([]string{"image"}, args...)...); r.Code != 0 {
				t.Errorf("%v: %+v", args, r)
			}
		}
		if r := do(t, user, "run", "--quiet", "changed", "cat", "/srv/made"); r.Out != "made\n0\n" {
			t.Errorf("%+v", r)
		}
		_, uid, _ := kit.Lookup(t, user)
		if info, err := os.Stat(archive); err != nil || info.Sys().(*syscall.Stat_t).Uid != uid {
			t.Errorf("%v, %v", info, err)
		}
	})
}

// Nobody else reaches a user's images, and a container does not change them.
func TestImagesAreClosed(t *testing.T) {
	each(t, func(t *testing.T, user string) {
		store := filepath.Join(ownDirectory(t, user), "images")
		for _, other := range []string{kit.Other, kit.User} {
			if other == user {
				continue
			}
			if r := kit.Do(t, kit.As(t, other, "ls", store)); r.Code == 0 {
				t.Errorf("%s: %+v", other, r)
			}
		}
		const touch = "ls -A %[1]s; touch %[1]s/x 2>/dev/null || echo denied"
		flags := [][]string{nil, {"--writable"}}
		if user != single {
			flags = append(flags, []string{"--root", "--writable"})
		}
		for _, f := range flags {
			if r := inside(t, user, fmt.Sprintf(touch, filepath.Dir(store)), f...); r.Out != "denied\n" {
				t.Errorf("%v: %+v", f, r)
			}
			above := filepath.Dir(filepath.Dir(store))
			if r := inside(t, user, fmt.Sprintf(touch, "/mnt/mayfly"), append(f, "--bind", above+":/mnt")...); r.Out != "denied\n" {
				t.Errorf("%v: %+v", f, r)
			}
		}
		for _, source := range []string{filepath.Dir(store), store} {
			r := do(t, user, "run", "--quiet", "--bind", source+":/mnt", kit.Image, "true")
			if r.Code != 125 || !strings.Contains(r.Err, "where your own images are") && !strings.Contains(r.Err, "permission denied") {
				t.Errorf("%s: %+v", source, r)
			}
		}
		if r := do(t, user, "image", "verify", kit.Image); r.Code != 0 {
			t.Errorf("%+v", r)
		}
	})
}

// A user's word for where the program is, is nobody's to a binary with a grant.
func TestTheVariableMeansNothingToAGrant(t *testing.T) {
	for _, value := range []string{"enter", "in:0:0:/tmp", "in:1000:1000:/", "in:", ""} {
		cmd := kit.As(t, kit.User, kit.Runtime, "run", "--quiet", kit.Image, "cat", "/proc/self/uid_map")
		cmd.Env = append(cmd.Env, "MAYFLY_ROOTLESS="+value)
		if r := kit.Do(t, cmd); r.Code != 0 || strings.Fields(r.Out)[2] != "4294967295" {
			t.Errorf("%s: %+v", value, r)
		}
	}
	// In a user namespace that is a whole system's, with its own root, a grant and
	// users, it would make them root.
	_, uid, gid := kit.Lookup(t, kit.User)
	const become = `exec setpriv --reuid="$0" --regid="$0" --init-groups env MAYFLY_ROOTLESS="$1" "$2" image verify "$3"`
	for _, value := range []string{"enter", fmt.Sprintf("in:%d:%d:/home/%s", uid, gid, kit.User), "in:0:0:/"} {
		cmd := exec.Command("sh", "-ec", become, kit.User, value, kit.Runtime, kit.Image)
		cmd.SysProcAttr = system()
		refused(t, value, kit.Do(t, cmd), "only root may do this")
	}
	cmd := kit.As(t, kit.User, bare, "run", "--quiet", "--env-all", kit.Image, "env")
	cmd.Env = append(cmd.Env, "MAYFLY_ROOTLESS=x")
	if r := kit.Do(t, cmd); r.Code != 0 || strings.Contains(r.Out, "MAYFLY_ROOTLESS") {
		t.Errorf("%+v", r)
	}
}

func TestManyAtOnce(t *testing.T) {
	each(t, func(t *testing.T, user string) {
		done := make(chan kit.Result)
		for range 8 {
			cmd := kit.As(t, user, bare, "run", "--quiet", "--writable", kit.Image, "sh", "-c", "echo $$; sleep 1")
			go func() { done <- kit.DoWithin(t, kit.Within(time.Minute), cmd) }()
		}
		for range 8 {
			if r := <-done; r.Code != 0 {
				t.Errorf("%+v", r)
			}
		}
	})
}

// refused checks the one answer to what is not to be had.
func refused(t *testing.T, what string, r kit.Result, why string) {
	t.Helper()
	if r.Code != 125 || r.Out != "" || strings.Count(r.Err, "\n") != 1 || !strings.Contains(r.Err, why) {
		t.Errorf("%s: %+v, want 125 and one line with %q", what, r, why)
	}
}

// The working directory comes along as it does with a grant.
func TestACommandWorksWhereItIsCalled(t *testing.T) {
	each(t, func(t *testing.T, user string) {
		dir, err := os.MkdirTemp("/srv", "workspace-")
		kit.Must(t, err)
		defer os.RemoveAll(dir)
		_, uid, gid := kit.Lookup(t, user)
		kit.Must(t, os.Chown(dir, int(uid), int(gid)))
		cmd := kit.As(t, user, bare, "run", "--quiet", kit.Image, "touch", "made")
		cmd.Dir = dir
		if r := kit.Do(t, cmd); r.Code != 0 || r.Err != "" {
			t.Errorf("%+v", r)
		}
		if _, err := os.Stat(filepath.Join(dir, "made")); err != nil {
			t.Error(err)
		}
	})
}
