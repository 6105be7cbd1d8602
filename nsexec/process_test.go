package nsexec

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// In a process of its own, which has a process group that somebody can continue.
func TestASuspendedProcessGoesOn(t *testing.T) {
	const variable = "NSEXEC_TEST_SUSPEND"
	if os.Getenv(variable) != "" {
		for _, job := range []bool{false, true} {
			if err := Suspend(job); err != nil {
				t.Error(err)
			}
		}
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.count=1", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), variable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stops := 0
	for {
		var status unix.WaitStatus
		_, err := unix.Wait4(cmd.Process.Pid, &status, unix.WUNTRACED, nil)
		switch {
		case err == unix.EINTR:
		case err == nil && status.Stopped() && status.StopSignal() == unix.SIGTSTP:
			stops++
			if err := unix.Kill(-cmd.Process.Pid, unix.SIGCONT); err != nil {
				t.Fatal(err)
			}
		case err != nil || status != 0 || stops != 2:
			t.Fatalf("it was stopped %d times and ended with %#x, %v", stops, status, err)
		default:
			return
		}
	}
}

func TestWhatACallerLeavesOverAnExecutionIsReset(t *testing.T) {
	restore := map[syscall.Signal][4]uintptr{}
	signals := []syscall.Signal{unix.SIGTTIN, unix.SIGTTOU, 32, 34}
	set := func(s syscall.Signal, action, before *[4]uintptr) {
		if err := raw4(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(action)), uintptr(unsafe.Pointer(before)), 8); err != nil {
			t.Fatalf("signal %d: %v", s, err)
		}
	}
	for _, s := range signals {
		before := new([4]uintptr)
		set(s, &ignore, before)
		restore[s] = *before
	}
	defer func() {
		for s, before := range restore {
			set(s, &before, nil)
		}
	}()
	soon := unix.Itimerval{Value: unix.Timeval{Sec: 1 << 20}}
	timers := []unix.ItimerWhich{unix.ItimerReal, unix.ItimerVirtual, unix.ItimerProf}
	for _, which := range timers {
		if _, err := unix.Setitimer(which, soon); err != nil {
			t.Fatal(err)
		}
	}
	if err := ResetInheritance(); err != nil {
		t.Fatal(err)
	}
	for _, which := range timers {
		if left, err := unix.Getitimer(which); err != nil || left != (unix.Itimerval{}) {
			t.Errorf("timer %d has %+v left, %v", which, left, err)
		}
	}
	for _, s := range signals {
		now := new([4]uintptr)
		set(s, nil, now)
		if now[0] != defaultAction[0] {
			t.Errorf("signal %d has the action %#x, want the default", s, now[0])
		}
	}
}

func TestIDsAreSettledWhereAllAreTheRealOne(t *testing.T) {
	for ids, want := range map[ThreeIDs]bool{{1, 1, 1}: true, {1, 0, 1}: false, {1, 1, 0}: false, {0, 0, 0}: true} {
		if ids.Settled() != want {
			t.Errorf("%+v: %v", ids, !want)
		}
	}
	c, err := CurrentCredentials()
	if err != nil || c.UID.Real != os.Getuid() || c.UID.Effective != os.Geteuid() || c.GID.Real != os.Getgid() {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestUndumpableClosesTheProcess(t *testing.T) {
	dumpable := func() int {
		value, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	before := dumpable()
	defer unix.Prctl(unix.PR_SET_DUMPABLE, uintptr(before), 0, 0, 0)
	if err := Undumpable(); err != nil || dumpable() != 0 {
		t.Errorf("%d, %v", dumpable(), err)
	}
}

func TestAnErrorOfAnEndedProcessIsNone(t *testing.T) {
	if err := errors.Join(ended(unix.ESRCH), ended(nil)); err != nil {
		t.Error(err)
	}
	if err := ended(unix.EPERM); err != unix.EPERM {
		t.Error(err)
	}
}
