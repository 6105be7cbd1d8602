package nsexec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// These tests clone: they want clone3(2), and neither root nor a capability.

// onThread calls f on a thread of its own, which ends with it.
func onThread(f func()) {
	done := make(chan struct{})
	aside(func() {
		defer close(done)
		f()
	})
	<-done
}

// What programs of these tests point to.
var (
	written = [...]byte{'t', 'e', 'x', 't'}
	blocked unix.Sigset_t
)

// runs runs a program in a clone and returns its exit status.
func runs(t *testing.T, p program) int {
	t.Helper()
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	pid, err := p.start(&cloneArgs{flags: unix.CLONE_VM | unix.CLONE_FILES, exitSignal: uint64(unix.SIGCHLD)})
	if err != nil {
		t.Fatal(err)
	}
	status, err := wait(pid)
	if err != nil || !status.Exited() {
		t.Fatalf("wait status %#x, %v", status, err)
	}
	goruntime.KeepAlive(p)
	return status.ExitStatus()
}

func TestACloneMakesTheCallsOfItsProgram(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	p := newProgram(5)
	fail := p.last(unix.SYS_EXIT, number(1))
	pid := p.add(fail, unix.SYS_GETPID)
	// A call may have the result of an earlier one as its argument.
	copied := p.add(fail, unix.SYS_DUP, number(pair[0]))
	wrote := p.add(fail, unix.SYS_WRITE, &copied.result, address(unsafe.Pointer(&written)), number(len(written)))
	p.add(fail, unix.SYS_EXIT, number(7))
	if status := runs(t, p); status != 7 {
		t.Errorf("exit status %d, want 7", status)
	}
	defer unix.Close(int(copied.result))
	if int(pid.result) == os.Getpid() || wrote.result != 4 || wrote.err() != nil {
		t.Errorf("process %d in process %d has written %d bytes, %v", pid.result, os.Getpid(), wrote.result, wrote.err())
	}
	var got [8]byte
	if n, err := unix.Read(pair[1], got[:]); err != nil || string(got[:n]) != "text" {
		t.Errorf("%q, %v", got[:n], err)
	}
}

func TestACloneEndsAtAFailure(t *testing.T) {
	p := newProgram(5)
	fail := p.last(unix.SYS_EXIT, number(3))
	passed := p.add(nil, unix.SYS_CLOSE, number(-1))
	failed := p.add(fail, unix.SYS_CHDIR, &zero)
	never := p.add(fail, unix.SYS_GETPID)
	p.add(fail, unix.SYS_EXIT, &zero)
	if status := runs(t, p); status != 3 {
		t.Errorf("exit status %d, want 3", status)
	}
	if passed.err() != unix.EBADF || failed.err() != unix.EFAULT || never.result != 0 {
		t.Errorf("%v, %v, and then %d", passed.err(), failed.err(), never.result)
	}
}

func TestACloneHasAllSignalsBlockedAndTheThreadNone(t *testing.T) {
	var before, after unix.Sigset_t
	p := newProgram(3)
	p.last(unix.SYS_EXIT, number(1))
	p.add(nil, unix.SYS_RT_SIGPROCMASK, number(unix.SIG_SETMASK), &zero, address(unsafe.Pointer(&blocked)), number(8))
	p.add(nil, unix.SYS_EXIT, &zero)
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	_ = unix.PthreadSigmask(unix.SIG_BLOCK, nil, &before)
	runs(t, p)
	_ = unix.PthreadSigmask(unix.SIG_BLOCK, nil, &after)
	unblockable := uint64(1<<(unix.SIGKILL-1) | 1<<(unix.SIGSTOP-1))
	if got := uint64(blocked.Val[0]); got|unblockable != 1<<64-1 {
		t.Errorf("the clone has %#x blocked", got)
	}
	if before != after {
		t.Errorf("the thread has %#x blocked, before %#x", after.Val[0], before.Val[0])
	}
}

func TestACloneOnALineIsReadyThenLetGo(t *testing.T) {
	l, err := newLine(0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	p := newProgram(4)
	fail := p.last(unix.SYS_EXIT, number(1))
	byteAt, one := address(unsafe.Pointer(&oneByte)), number(1)
	p.add(fail, unix.SYS_WRITE, number(l.child), byteAt, one)
	p.add(fail, unix.SYS_READ, number(l.child), byteAt, one)
	p.add(fail, unix.SYS_EXIT, number(5))
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	args := l.args()
	args.flags |= unix.CLONE_VM | unix.CLONE_FILES
	args.exitSignal = uint64(unix.SIGCHLD)
	pid, err := p.start(args)
	if err != nil {
		t.Fatal(err)
	}
	if ready, err := l.ready(); !ready || err != nil {
		t.Errorf("ready: %v, %v", ready, err)
	}
	if err := exits(int(l.pidfd), time.Millisecond); err != unix.ETIMEDOUT {
		t.Errorf("it has ended by itself: %v", err)
	}
	l.hangUp()
	if status, err := wait(pid); err != nil || status.ExitStatus() != 5 {
		t.Errorf("%#x, %v", status, err)
	}
}

func TestACloneThatEndsBeforeItIsReadyIsNotWaitedFor(t *testing.T) {
	l, err := newLine(0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	p := newProgram(2)
	p.last(unix.SYS_EXIT, number(1))
	p.add(nil, unix.SYS_EXIT, number(2))
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	args := l.args()
	args.flags |= unix.CLONE_VM | unix.CLONE_FILES
	args.exitSignal = uint64(unix.SIGCHLD)
	pid, err := p.start(args)
	if err != nil {
		t.Fatal(err)
	}
	if ready, err := l.ready(); ready || err != nil {
		t.Errorf("ready: %v, %v", ready, err)
	}
	_, _ = wait(pid)
}

func TestACloneWaitsOnALineForALimitedTime(t *testing.T) {
	l, err := newLine(time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	p := newProgram(3)
	p.last(unix.SYS_EXIT, number(1))
	read := p.add(nil, unix.SYS_READ, number(l.child), address(unsafe.Pointer(&oneByte)), number(1))
	p.add(nil, unix.SYS_EXIT, &zero)
	runs(t, p)
	if read.err() != unix.EAGAIN {
		t.Errorf("%v, want EAGAIN of the receive timeout", read.err())
	}
}

// shell is a command of a shell's, whose standard output is a pipe.
func shell(script string, args ...string) Command {
	return Command{Path: "/bin/sh", Args: append([]string{"sh", "-c", script, "sh"}, args...), Env: []string{"PATH=/usr/bin:/bin"}, Files: [3]uintptr{0, 1, 2}}
}

// output starts a command, and returns what it writes and its wait status.
func output(t *testing.T, c Command) (string, syscall.WaitStatus, *Process) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	c.Files[1] = write.Fd()
	var p *Process
	onThread(func() { p, err = StartCommand(c) })
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	text, err := io.ReadAll(read)
	if err != nil {
		t.Fatal(err)
	}
	status, err := p.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return string(text), status, p
}

func TestACommandIsExecutedAsItIsAsked(t *testing.T) {
	dir := t.TempDir()
	kept, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	if _, err := unix.FcntlInt(0, unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	left, err := unix.Dup(0) // as by code that does not close on exec
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(left)
	c := shell(`echo "$1 $A $HOME"; pwd; ulimit -n; cat /proc/self/stat | cut -d' ' -f 5,6 | grep -c "$$"; ls /proc/self/fd | tr '\n' ' '; echo
		grep -E '^Sig(Blk|Ign)' /proc/self/status; exit 3`, "an argument")
	c.Env = append(c.Env, "A=1")
	c.Kept = []int{int(kept.Fd())}
	c.Limits = []Limit{{unix.RLIMIT_NOFILE, unix.Rlimit{Cur: 100, Max: 100}}}
	c.Dirs = []string{"/", dir, "/nosuch"}
	text, status, p := output(t, c)
	if status.ExitStatus() != 3 || p.Dir != 1 || p.PID == 0 || !p.Reaped() || p.Usage.Maxrss == 0 {
		t.Errorf("status %#x, directory %d, process %d, reaped %v, usage %+v", status, p.Dir, p.PID, p.Reaped(), p.Usage)
	}
	lines := strings.Split(text, "\n")
	// ls has a descriptor of its own besides.
	fds := slices.DeleteFunc(strings.Fields(lines[min(4, len(lines)-1)]), func(fd string) bool {
		return slices.Contains([]string{"0", "1", "2", fmt.Sprint(kept.Fd())}, fd)
	})
	if len(fds) != 1 {
		t.Errorf("it has descriptors %v besides those that it was given: %s", fds, text)
	}
	lines = slices.Delete(lines, 4, 5)
	if want := []string{"an argument 1 ", dir, "100", "1", "SigBlk:\t0000000000000000"}; len(lines) < 5 || !slices.Equal(lines[:5], want) {
		t.Errorf("%q, want %q", lines, want)
	}
}

func TestACommandHasNoHandlersAndKeepsIgnoredSignals(t *testing.T) {
	var before [4]uintptr
	if err := onSuspend(&ignore, &before); err != nil {
		t.Fatal(err)
	}
	defer onSuspend(&before, nil)
	text, _, _ := output(t, shell(`grep -E '^Sig(Ign|Cgt)' /proc/$$/status`))
	var ignored, caught uint64
	if _, err := fmt.Sscanf(text, "SigIgn:\t%x\nSigCgt:\t%x", &ignored, &caught); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	if ignored&(1<<(unix.SIGTSTP-1)) == 0 || caught&(1<<(unix.SIGURG-1)) != 0 {
		t.Errorf("it ignores %#x and handles %#x; want SIGTSTP ignored, and SIGURG not handled, as the Go runtime does", ignored, caught)
	}
}

func TestACommandThatIsNotExecutedLeavesNothing(t *testing.T) {
	directory := t.TempDir()
	for name, c := range map[string]struct {
		change func(*Command)
		want   error
		says   string
	}{
		"no such file":   {func(c *Command) { c.Path = filepath.Join(directory, "nosuch") }, unix.ENOENT, "no such file or directory"},
		"a directory":    {func(c *Command) { c.Path = directory }, unix.EACCES, "permission denied"},
		"no directory":   {func(c *Command) { c.Dirs, c.DirRequired = []string{"/nosuch"}, true }, unix.ENOENT, "change directory: no such file or directory"},
		"no terminal":    {func(c *Command) { c.Terminal = 1 << 20 }, unix.EBADF, fmt.Sprintf("system call %d before execve: bad file descriptor", unix.SYS_IOCTL)},
		"no namespace":   {func(c *Command) { c.UserNamespace = &UserNamespace{FD: 1 << 20} }, nil, ""},
		"no such group":  {func(c *Command) { c.Cgroup = 1 << 20 }, nil, ""},
		"a wrong filter": {func(c *Command) { c.Filter = []unix.SockFilter{{Code: 0xffff}} }, nil, fmt.Sprintf("system call %d before execve: ", unix.SYS_SECCOMP)},
	} {
		t.Run(name, func(t *testing.T) {
			before := openFiles(t)
			command := shell("exit 1")
			c.change(&command)
			var p *Process
			var err error
			onThread(func() { p, err = StartCommand(command) })
			if p != nil || err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.HasPrefix(err.Error(), c.says) {
				t.Errorf("%+v, %v; want %v, %q", p, err, c.want, c.says)
			}
			if after := openFiles(t); !slices.Equal(before, after) {
				t.Errorf("descriptors %v before, %v after", before, after)
			}
			if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
				t.Errorf("a child is left: %d, %v", pid, err)
			}
		})
	}
}

// openFiles lists the process's descriptors.
func openFiles(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestACommandGetsSignals(t *testing.T) {
	for name, signal := range map[string]func(*Process) error{
		"by Signal":      func(p *Process) error { return p.Signal(unix.SIGTERM) },
		"by SignalGroup": func(p *Process) error { return p.SignalGroup(unix.SIGTERM) },
		"by discard":     func(p *Process) error { return p.discard() },
	} {
		var p *Process
		var err error
		onThread(func() { p, err = StartCommand(shell("exec sleep infinity")) })
		if err != nil {
			t.Fatal(err)
		}
		if p.Reaped() {
			t.Error("reaped before it has ended")
		}
		if err := signal(p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if name == "by discard" {
			continue
		}
		if status, err := p.Wait(); err != nil || !status.Signaled() || status.Signal() != unix.SIGTERM {
			t.Errorf("%s: %#x, %v", name, status, err)
		}
		if err := errors.Join(p.Signal(unix.SIGKILL), p.SignalGroup(unix.SIGKILL), p.Close()); err != nil {
			t.Errorf("%s, after its end: %v", name, err)
		}
	}
}

func TestACommandThatStopsIsToldOf(t *testing.T) {
	var p *Process
	var err error
	onThread(func() { p, err = StartCommand(shell("kill -STOP $$; kill -STOP $$; exit 4")) })
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	stops := 0
	p.Stopped = func() {
		stops++
		if err := p.Signal(unix.SIGCONT); err != nil {
			t.Error(err)
		}
	}
	if status, err := p.Wait(); err != nil || status.ExitStatus() != 4 || stops != 2 {
		t.Errorf("status %#x, %v, stopped %d times", status, err, stops)
	}
}

func TestACommandComesUnderItsFilter(t *testing.T) {
	const allow, killProcess = unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_KILL_PROCESS
	load := unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS} // the number of the call
	is := func(nr uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jf: 1}
	}
	c := shell("umask 0; umask")
	c.Filter = []unix.SockFilter{load, is(unix.SYS_UMASK), {Code: unix.BPF_RET | unix.BPF_K, K: killProcess}, {Code: unix.BPF_RET | unix.BPF_K, K: allow}}
	var status syscall.WaitStatus
	var p *Process
	var err error
	onThread(func() {
		if err = NoNewPrivileges(); err == nil {
			p, err = StartCommand(c)
			Umask(Umask(0o22)) // the thread does not come under it
		}
	})
	if err == nil {
		status, err = p.Wait()
		err = errors.Join(err, p.Close())
	}
	if err != nil || !status.Signaled() || status.Signal() != unix.SIGSYS {
		t.Errorf("wait status %#x, %v; want SIGSYS", status, err)
	}
}

func TestAKeeperHasNothingElse(t *testing.T) {
	kept, err := unix.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	other, err := unix.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	k, err := Keep([]int{kept})
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(kept)
	// Its name is the last thing that it sets before it waits.
	directory := fmt.Sprintf("/proc/%d", k.pid)
	for name := []byte(nil); string(name) != "mayfly-keeper\n"; name, err = os.ReadFile(directory + "/comm") {
		if err != nil {
			t.Fatal(err)
		}
	}
	files, err := os.ReadDir(directory + "/fd")
	if err != nil || len(files) != 2 {
		t.Errorf("it has %v, %v; want what it keeps and its line", files, err)
	}
	status, _ := os.ReadFile(directory + "/status")
	for _, want := range []string{"\nCapPrm:\t0000000000000000\n", "\nCapEff:\t0000000000000000\n", "\nSigBlk:\tfffffffffffbfeff\n"} {
		if !bytes.Contains(status, []byte(want)) {
			t.Errorf("no %q in %s", want, status)
		}
	}
	k.Release()
	if _, err := os.Stat(directory); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is there after its release: %v", err)
	}
}

func TestAKeeperOutlivesAnExecution(t *testing.T) {
	kept, err := unix.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	k, err := Keep([]int{kept})
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(kept)
	if err := k.Outlive(); err != nil {
		t.Error(err)
	}
	if flags, err := unix.FcntlInt(uintptr(k.line.own), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC != 0 {
		t.Errorf("the next program does not get the line: flags %#x, %v", flags, err)
	}
	k.Release()
	if err := Inherit([]int{1 << 20}); !errors.Is(err, unix.EBADF) {
		t.Errorf("%v, want EBADF", err)
	}
}

func TestOutputAsRunsAProgramWithOtherIDs(t *testing.T) {
	want := fmt.Sprintln(os.Getuid(), os.Getgid())
	if os.Getuid() == 0 {
		want = "65534 65533\n"
	}
	out, err := OutputAs(exec.Command("/bin/sh", "-c", `echo $(id -u) $(id -g)`), 65534, 65533)
	if err != nil || string(out) != want {
		t.Errorf("%q, %v, want %q", out, err, want)
	}
	var failed *exec.ExitError
	if _, err := OutputAs(exec.Command("/bin/sh", "-c", "echo no >&2; exit 3"), 65534, 65534); !errors.As(err, &failed) || string(failed.Stderr) != "no\n" {
		t.Errorf("%v", err)
	}
}
