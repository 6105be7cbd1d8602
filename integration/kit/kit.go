// Package kit is what the integration tests share: the granted binary, an ordinary
// user, an image, and the look for anything that was left.
package kit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mayfly/nsexec"
)

// What `make prepare` has set up.
const (
	I386  = "deb12-i386"  // a compiler for 32 bits; see Emulated
	User  = "mayfly-test" // in the group Group besides its own
	Other = "mayfly-other"
	Group = "mayfly-group"
)

// What the tests run on can be chosen: another binary, another store, and with
// MAYFLY_SEALED the sealed image.
var (
	Runtime   = setting("MAYFLY_RUNTIME", "/usr/local/bin/runtime")
	NspawnRun = filepath.Join(filepath.Dir(Runtime), "nspawn-run")
	Store     = setting("MAYFLY_STORE", "/var/lib/machines")

	Cache = setting("MAYFLY_CACHE", "/var/cache/mayfly-test") // what is downloaded or made once, for later runs

	Base, Machine = base()                      // an image that is a plain directory, and what uname -m says in it
	Sealed        = Base + "-sealed"            // an image with versions, of the same content
	Plain         = "/var/lib/machines/" + Base // the root file system of Base, on BTRFS
	Image         = map[bool]string{false: Base, true: Sealed}[os.Getenv("MAYFLY_SEALED") != ""]
)

// base is the image for 32 bits, or one of the machine's own architecture where the
// other would be slow.
func base() (image, machine string) {
	if Emulated() {
		return "deb12-amd64", "x86_64"
	}
	return I386, "i686"
}

// Patience is by how much the machine is slower than others, as an emulated one is: a
// test waits that much longer before it gives up, and does that much less of what it
// does many times over.
var Patience = patience()

func patience() int {
	n, err := strconv.Atoi(setting("MAYFLY_PATIENCE", "1"))
	if err != nil || n < 1 {
		panic("MAYFLY_PATIENCE: want a number from 1")
	}
	return n
}

// Within is how long something may take that takes at most so long on a usual machine.
func Within(usual time.Duration) time.Duration { return usual * time.Duration(Patience) }

// Times is how often to do what is done so often on a usual machine.
func Times(usual int) int { return max(usual/Patience, 1) }

// long is set by `make test-long`.
var long = os.Getenv("MAYFLY_LONG") != ""

// Rounds is Times of what a test repeats for the sake of chance: so often in `make
// test`, and often enough to meet a rare moment in `make test-long`.
func Rounds(short, often int) int {
	if long {
		return Times(often)
	}
	return Times(short)
}

// Every is which of many alike cases a test takes: each n-th in `make test`, all in
// `make test-long`. A slow machine takes fewer.
func Every(n int) int {
	if long {
		return Patience
	}
	return n * Patience
}

// AllModes is a policy that lets everybody have every kind of container, and is like
// the default's otherwise.
const AllModes = `
[[rule]]
images      = ["*"]
bind-ro     = ["/etc/passwd", "/etc/group", "/opt"]
bind        = ["/home"]
env         = ["TERM", "COLORTERM", "NO_COLOR", "LANG", "LC_*", "TZ", "USER", "LOGNAME", "HOME", "SHELL", "CI"]
allow-bind  = ["/"]
writable    = true
env-all     = true
root-inside = true
network     = ["host", "none", "private"]
`

func setting(variable, otherwise string) string {
	if value := os.Getenv(variable); value != "" {
		return value
	}
	return otherwise
}

// required is set by `make test`, which prepares the machine first.
const required = "MAYFLY_INTEGRATION"

// Main runs the tests of a package, one package at a time, on a prepared machine.
// Anywhere else they are skipped, with a word on how to run them; what `make`
// asks for fails rather than being skipped. Afterwards it calls after.
func Main(m *testing.M, after ...func()) {
	if os.Getenv(required) == "" {
		fmt.Println("skipped: `make test` prepares the machine and runs the integration tests")
		os.Exit(0)
	}
	if problem := unprepared(); problem != nil {
		fmt.Println("FAIL: integration tests cannot run:", problem)
		os.Exit(1)
	}
	// make(1) leaves a signal of the C library's ignored in what it starts, nohup(1)
	// SIGHUP: the tests begin as from a shell. What Go handles has its default action
	// in children.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	if err := nsexec.ResetInheritance(); err != nil {
		fmt.Println("FAIL:", err)
		os.Exit(1)
	}
	code := m.Run()
	for _, f := range after {
		f()
	}
	os.Exit(code)
}

func unprepared() error {
	if os.Getuid() != 0 {
		return errors.New("not root")
	}
	var found [3]os.FileInfo
	for i, name := range []string{Runtime, NspawnRun, filepath.Join(Store, Image)} {
		var err error
		if found[i], err = os.Stat(name); err != nil {
			return err
		}
	}
	if !os.SameFile(found[0], found[1]) {
		return fmt.Errorf("%s is not %s: MAYFLY_RUNTIME names a binary with a link to it beside it", NspawnRun, Runtime)
	}
	for _, name := range []string{User, Other} {
		if _, err := user.Lookup(name); err != nil {
			return err
		}
	}
	return nil
}

// Emulated tells whether an emulator runs the programs of I386: the kernel of this
// machine was built or booted without 32-bit emulation, and `make prepare` has
// registered qemu with binfmt_misc.
func Emulated() bool { return exec.Command("arch-test", "-n", "i386").Run() != nil }

// Nspawn runs systemd-nspawn on a snapshot of Plain.
func Nspawn(args ...string) *exec.Cmd {
	personality := map[string]string{"i686": "x86", "x86_64": "x86-64"}[Machine]
	return exec.Command("systemd-nspawn", append([]string{"--quiet", "--keep-unit", "--register=no",
		"--directory=" + Plain, "--personality=" + personality, "--ephemeral", "--read-only"}, args...)...)
}

// A Result is how a program ended.
type Result struct {
	Out, Err string
	Code     int // as a shell would see it
}

// Lookup returns a user who must exist.
func Lookup(t testing.TB, name string) (u *user.User, uid, gid uint32) {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	return u, number(t, u.Uid), number(t, u.Gid)
}

func number(t testing.TB, text string) uint32 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

// As prepares a program that a user runs from their home directory, with all of
// the user's groups and a login's environment.
func As(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	u, uid, gid := Lookup(t, name)
	ids, err := u.GroupIds()
	if err != nil {
		t.Fatal(err)
	}
	groups := []uint32{}
	for _, id := range ids {
		groups = append(groups, number(t, id))
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = u.HomeDir
	cmd.Env = []string{"HOME=" + u.HomeDir, "USER=" + name, "LOGNAME=" + name, "LANG=C.UTF-8", "TERM=dumb",
		"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid, Groups: groups}}
	return cmd
}

// Do runs a program to its end, or fails the test after a minute.
func Do(t testing.TB, cmd *exec.Cmd) Result {
	t.Helper()
	return DoWithin(t, Within(time.Minute), cmd)
}

// DoWithin runs a program to its end, or fails the test when it has not ended by then.
func DoWithin(t testing.TB, most time.Duration, cmd *exec.Cmd) Result {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = Within(20 * time.Second)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(most, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	if !limit.Stop() {
		t.Errorf("%v did not end", cmd.Args)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return Result{out.String(), errs.String(), Code(cmd.ProcessState)}
}

// Code is an exit status as a shell tells it.
func Code(state *os.ProcessState) int {
	status := state.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// Run runs the granted binary as the ordinary user.
func Run(t testing.TB, args ...string) Result {
	t.Helper()
	return Do(t, As(t, User, append([]string{Runtime}, args...)...))
}

// Inside runs a shell script in a container, as the ordinary user.
func Inside(t testing.TB, script string, flags ...string) Result {
	t.Helper()
	return Run(t, append(append([]string{"run"}, flags...), Image, "/bin/sh", "-c", script)...)
}

// Root runs the binary as root.
func Root(t testing.TB, args ...string) Result {
	t.Helper()
	return Do(t, exec.Command(Runtime, args...))
}

// OnBTRFS tells whether the tests run on the store that has subvolumes.
func OnBTRFS() bool { return Store == filepath.Dir(Plain) }

// Change makes a changed copy of the image, a plain one: a shell script runs in its
// root directory.
func Change(t testing.TB, name, script string) {
	t.Helper()
	path := filepath.Join(Store, name)
	duplicate := []string{"btrfs", "subvolume", "snapshot", Plain, path}
	if !OnBTRFS() {
		// With links, which is quick; scripts write to nothing that is there but in
		// /etc.
		base := filepath.Join(Store, Base)
		duplicate = []string{"sh", "-ec", fmt.Sprintf("cp -al %s %s; rm -r %s/etc; cp -a %s/etc %s/etc", base, path, path, base, path)}
	}
	for _, args := range [][]string{duplicate, {"sh", "-ec", "cd " + path + " && " + script}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", args, err, out)
		}
	}
	t.Cleanup(func() {
		if r := Root(t, "image", "remove", name); r.Code != 0 {
			t.Error(r.Err)
		}
	})
}

// Snapshots lists the snapshots in a store, and what else is in their directory. A file
// that says that something is being worked on belongs to that.
func Snapshots(t testing.TB, store string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(store, ".mayfly"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		of, held := strings.CutSuffix(e.Name(), ".held")
		if _, err := os.Lstat(filepath.Join(store, ".mayfly", of)); !held || err != nil {
			names = append(names, e.Name())
		}
	}
	return names
}

// Inits lists the processes that are PID 1 of a container. One that is ending does not
// count: it waits for the command, which was killed, to be noticed by its parent; after
// the supervisor was killed that is the host's init, and some are slow at it.
func Inits(t testing.TB) []string {
	t.Helper()
	var found []string
	names, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		stat, err := os.ReadFile(name)
		if err != nil || !strings.Contains(string(stat), " (mayfly-init) ") {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		flags, err := strconv.ParseUint(strings.Fields(rest)[6], 10, 64)
		const exiting = 0x4 // PF_EXITING
		if err == nil && flags&exiting == 0 {
			found = append(found, filepath.Base(filepath.Dir(name)))
		}
	}
	return found
}

// NothingLeft checks that no snapshot, process or mount of a container is there.
func NothingLeft(t testing.TB) {
	t.Helper()
	if left := Snapshots(t, Store); len(left) > 0 {
		t.Errorf("snapshots left: %v", left)
	}
	if left, err := filepath.Glob("/run/mayfly/*/*"); err != nil || len(left) > 0 {
		t.Errorf("records left: %v, %v", left, err)
	}
	Eventually(t, "no PID 1 is left", func() bool { return len(Inits(t)) == 0 })
	for _, m := range Mounts(t) {
		if strings.Contains(m.Root+m.Point, "/.mayfly/") {
			t.Errorf("a mount is left: %+v", m)
		}
	}
}

// Must ends the test at an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Eventually waits until a condition holds, for ten seconds of a usual machine.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(Within(10 * time.Second)); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("not within ten seconds: %s", what)
}
