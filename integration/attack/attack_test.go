// Package attack tries what must not happen. Each test is one case of docs/security.md,
// by its id, and runs as an ordinary user through each of the four grants.
package attack

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"mayfly/integration/kit"
)

const (
	// dir has the helper, and a directory for each grant with a binary in it.
	dir     = "/usr/local/lib/mayfly-attack"
	helper  = dir + "/helper"
	sudoers = "/etc/sudoers.d/mayfly-attack"
	// dropIn is where tests put rules of their own; it comes before all others.
	dropIn = "/etc/mayfly/policy.d/00-attack.toml"
)

// A way is one of the four grants.
type way struct {
	name string
	mode []string // flags of the containers that are attacked from inside
}

var ways = []way{{name: "filecaps"}, {name: "setuid"}, {name: "sudo"}, {name: "ambient"}}

// modes are further kinds of container, of each of which there is one.
var modes = []way{{"filecaps", []string{"--root"}}, {"filecaps", []string{"--network=none"}}, {"filecaps", []string{"--network=private"}}, {"filecaps", []string{"--unprivileged"}}}

func TestMain(m *testing.M) {
	if os.Getenv("MAYFLY_INTEGRATION") != "" {
		if err := setUp(); err != nil {
			cleanUp()
			fmt.Println("FAIL: set up the grants:", err)
			os.Exit(1)
		}
	}
	kit.Main(m, cleanUp)
}

func setUp() error {
	cleanUp() // of a run that was interrupted
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if out, err := exec.Command("gcc", "-O1", "-static", "-o", helper, "helper/helper.c").CombinedOutput(); err != nil {
		return fmt.Errorf("compile the helper: %w: %s", err, out)
	}
	for _, w := range ways {
		if err := w.setUp(); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	return nil
}

func cleanUp() {
	_ = os.RemoveAll(dir)
	_ = os.Remove(sudoers)
	_ = os.Remove(dropIn)
	kit.RemoveOwnImages(kit.User)
}

func (w way) path() string { return filepath.Join(dir, w.name, "runtime") }

// setUp gives a copy of the binary its grant.
func (w way) setUp() error {
	if err := os.MkdirAll(filepath.Dir(w.path()), 0o755); err != nil {
		return err
	}
	data, err := os.ReadFile(kit.Runtime)
	if err != nil {
		return err
	}
	if err := os.WriteFile(w.path(), data, 0o755); err != nil {
		return err
	}
	args := map[string][]string{"filecaps": {"grant"}, "setuid": {"grant", "--setuid"}, "sudo": {"grant", "--sudo"}}[w.name]
	if args == nil {
		return nil // ambient capabilities come from whoever starts it
	}
	out, err := exec.Command(kit.Runtime, append(args, w.path())...).Output()
	if err != nil {
		return err
	}
	if w.name == "sudo" {
		return os.WriteFile(sudoers, out, 0o440)
	}
	return nil
}

// args is a command line of the binary by way of the grant.
func (w way) args(args ...string) []string {
	if w.name == "sudo" {
		return slices.Concat([]string{"/usr/bin/sudo", "-n", w.path(), "as-caller"}, args)
	}
	return slices.Concat([]string{w.path()}, args)
}

// as prepares a user's program that has what the grant gives to whoever starts the
// binary.
func (w way) as(t testing.TB, user string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := kit.As(t, user, args...)
	if w.name == "ambient" {
		cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SETPCAP}
		if !kit.OnBTRFS() {
			cmd.SysProcAttr.AmbientCaps = append(cmd.SysProcAttr.AmbientCaps, unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID)
		}
	}
	return cmd
}

// cmd prepares a call of the binary by the test user.
func (w way) cmd(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	return w.as(t, kit.User, w.args(args...)...)
}

// run calls the binary as the test user.
func (w way) run(t testing.TB, args ...string) kit.Result {
	t.Helper()
	return kit.Do(t, w.cmd(t, args...))
}

// inside runs a shell script in a container.
func (w way) inside(t testing.TB, script string, flags ...string) kit.Result {
	t.Helper()
	return w.run(t, slices.Concat([]string{"run"}, w.mode, flags, []string{kit.Image, "/bin/sh", "-c", script})...)
}

// help runs the helper in a container.
func (w way) help(t testing.TB, args ...string) kit.Result {
	t.Helper()
	return w.run(t, slices.Concat([]string{"run"}, w.mode, []string{"--bind-ro", helper + ":/mnt/helper", kit.Image, "/mnt/helper"}, args)...)
}

// start prepares a call in a hostile state, which the helper makes.
func (w way) start(t testing.TB, state []string, args ...string) *exec.Cmd {
	t.Helper()
	return w.as(t, kit.User, slices.Concat([]string{helper, "start"}, state, []string{"--"}, w.args(args...))...)
}

// each runs a test through each of the four grants, and looks for what it left.
func each(t *testing.T, test func(t *testing.T, w way)) {
	t.Helper()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			test(t, w)
			kit.NothingLeft(t)
		})
	}
}

// eachWaiting is each, for tests that wait more than they work and have to do so one by
// one: in `make test` through two of the grants, with sudo between the caller and the
// supervisor and without.
func eachWaiting(t *testing.T, test func(t *testing.T, w way)) {
	t.Helper()
	for i, w := range ways {
		if i%kit.Every(2) != 0 {
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			test(t, w)
			kit.NothingLeft(t)
		})
	}
}

// together is each, with all grants at once, for tests that wait more than they work.
// The caller looks for what they left.
func together(t *testing.T, test func(t *testing.T, w way)) {
	t.Helper()
	var group sync.WaitGroup
	for _, w := range ways {
		group.Go(func() { t.Run(w.name, func(t *testing.T) { test(t, w) }) })
	}
	group.Wait()
}

// everyMode is each, and then through one grant with every further kind of container.
func everyMode(t *testing.T, test func(t *testing.T, w way)) {
	t.Helper()
	each(t, test)
	furtherModes(t, test)
}

func furtherModes(t *testing.T, test func(t *testing.T, w way)) {
	t.Helper()
	for _, w := range modes {
		t.Run(strings.Join(w.mode, ""), func(t *testing.T) {
			t.Cleanup(func() { kit.Must(t, w.setUp()) })
			rule(t, kit.AllModes)
			kit.Must(t, w.setUp()) // the grant depends on the policy
			if slices.Contains(w.mode, "--unprivileged") {
				kit.OwnImage(t, kit.User)
			}
			test(t, w)
			kit.NothingLeft(t)
		})
	}
}

// refused checks the one answer to what is not to be had: exit status 125 and one line
// that says why, with nothing in it that could speak to a terminal.
func refused(t *testing.T, what string, r kit.Result, why string) {
	t.Helper()
	if r.Code != 125 || r.Out != "" || strings.Count(r.Err, "\n") != 1 || !strings.HasPrefix(r.Err, "runtime: ") || !strings.Contains(r.Err, why) {
		t.Errorf("%.80s: exit %d, stdout %q, stderr %q; want 125 and one line with %q", what, r.Code, r.Out, r.Err, why)
	}
	if strings.ContainsFunc(strings.TrimSuffix(r.Err, "\n"), func(c rune) bool { return c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 }) {
		t.Errorf("%.80s: control characters in %q", what, r.Err)
	}
}

// rule puts a drop-in before the machine's policy, for as long as the test.
func rule(t *testing.T, text string) {
	t.Helper()
	write(t, dropIn, text)
	t.Cleanup(func() { _ = os.Remove(dropIn) })
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// begin starts a call, which is killed at the end of the test if it is still there.
func begin(t testing.TB, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	kit.Must(t, cmd.Start())
	t.Cleanup(func() {
		if cmd.ProcessState != nil {
			return
		}
		_ = exec.Command("pkill", "-KILL", "-P", fmt.Sprint(cmd.Process.Pid)).Run() // what sudo has started
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// home makes a fresh directory of a user's in their home.
func home(t testing.TB, user string) string {
	t.Helper()
	return directory(t, "/home/"+user, user)
}

// directory makes a fresh directory of a user's, which they alone may enter.
func directory(t testing.TB, above, user string) string {
	t.Helper()
	_, uid, gid := kit.Lookup(t, user)
	path, err := os.MkdirTemp(above, "attack")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(path) })
	if err := os.Chown(path, int(uid), int(gid)); err != nil {
		t.Fatal(err)
	}
	return path
}

// gc removes what killed launches left, until nothing is, and no launch is on its way:
// one goes on whose sudo was killed.
func gc(t *testing.T) {
	t.Helper()
	kit.Eventually(t, "gc leaves nothing", func() bool {
		launching := underWay()
		r := kit.Root(t, "gc")
		left, _ := filepath.Glob("/run/mayfly/*/*")
		return r.Code == 0 && !launching && len(left) == 0 && len(kit.Snapshots(t, kit.Store)) == 0 && len(kit.Inits(t)) == 0
	})
}

// underWay tells whether a process runs one of the granted binaries, or is sudo and may
// be about to.
func underWay() bool {
	programs, _ := filepath.Glob("/proc/[0-9]*/exe")
	return slices.ContainsFunc(programs, func(link string) bool {
		program, _ := os.Readlink(link)
		granted, _ := filepath.Match(dir+"/*/runtime", program)
		return granted || program == "/usr/bin/sudo"
	})
}
