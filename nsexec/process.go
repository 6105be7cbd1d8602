package nsexec

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	goruntime "runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Credentials are what a process may be: its ids and its capability sets.
type Credentials struct {
	UID, GID ThreeIDs
	Capabilities
}

// ThreeIDs are the real, effective and saved id.
type ThreeIDs struct{ Real, Effective, Saved int }

// Settled tells whether all three are the real one.
func (i ThreeIDs) Settled() bool { return i.Effective == i.Real && i.Saved == i.Real }

// Capabilities are a thread's sets; bit N is capability N.
type Capabilities struct{ Effective, Permitted, Inheritable uint64 }

// CurrentCredentials asks the kernel for those of the calling thread.
func CurrentCredentials() (Credentials, error) {
	var c Credentials
	var err error
	c.UID.Real, c.UID.Effective, c.UID.Saved = unix.Getresuid()
	c.GID.Real, c.GID.Effective, c.GID.Saved = unix.Getresgid()
	c.Capabilities, err = CurrentCapabilities()
	return c, err
}

// SettleProcess gives every thread of the process, and each that comes later, one user
// and group as real, effective, saved and file-system id, these supplementary groups
// (nil: as they are), and of the permitted capabilities those in keep, none of them effective
// or inheritable. It is for the start of a program: no thread may have been changed.
//
// To change ids it needs CAP_SETUID and CAP_SETGID, unless they are real ones already.
func SettleProcess(uid, gid int, groups []int, keep uint64) error {
	now, err := CurrentCredentials()
	if err != nil {
		return err
	}
	// Without this, to leave uid 0 would empty the permitted set.
	if err := everywhere("keep capabilities", unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1); err != nil {
		return err
	}
	if groups != nil {
		if err := syscall.Setgroups(groups); err != nil {
			return fmt.Errorf("setgroups: %w", err)
		}
	}
	if now.GID != (ThreeIDs{gid, gid, gid}) {
		if err := syscall.Setresgid(gid, gid, gid); err != nil {
			return fmt.Errorf("setresgid %d: %w", gid, err)
		}
	}
	if now.UID != (ThreeIDs{uid, uid, uid}) {
		if err := syscall.Setresuid(uid, uid, uid); err != nil {
			return fmt.Errorf("setresuid %d: %w", uid, err)
		}
	}
	keep &= now.Permitted
	data := Capabilities{Permitted: keep}.data()
	if err := everywhere("capset", unix.SYS_CAPSET, uintptr(unsafe.Pointer(&capHeader)), uintptr(unsafe.Pointer(&data))); err != nil {
		return err
	}
	if err := everywhere("clear ambient capabilities", unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL); err != nil {
		return err
	}
	return everywhere("keep capabilities", unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 0)
}

// everywhere makes a system call on every thread. What a pointer among the arguments
// points to is kept off the stack, which could move meanwhile.
//
//go:uintptrescapes
func everywhere(what string, number, a, b uintptr) error {
	if _, _, errno := syscall.AllThreadsSyscall6(number, a, b, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("%s: %w", what, errno)
	}
	return nil
}

// ResetInheritance takes back what a process keeps over execve(2) and a caller can use
// to disturb it: interval timers, and ignored signals that the Go runtime leaves alone.
// (It takes over all others but SIGINT and SIGHUP, which os/signal does; the signal mask and
// descriptors are for the program's entry point, before the Go runtime starts.)
func ResetInheritance() error {
	var off unix.Itimerval
	for _, which := range []unix.ItimerWhich{unix.ItimerReal, unix.ItimerVirtual, unix.ItimerProf} {
		if _, err := unix.Setitimer(which, off); err != nil {
			return fmt.Errorf("setitimer: %w", err)
		}
	}
	// The Go runtime leaves the job control signals as they are, and two that are C
	// libraries' own (glibc's SIGCANCEL, musl's SIGSYNCCALL).
	for _, s := range []syscall.Signal{unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, 32, 34} {
		var now [4]uintptr
		if s == unix.SIGTSTP && raw4(unix.SYS_RT_SIGACTION, uintptr(s), 0, uintptr(unsafe.Pointer(&now)), 8) == nil && now[0] != ignore[0] {
			continue // handled: it is the program's by now
		}
		if err := raw4(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&defaultAction)), 0, 8); err != nil {
			return fmt.Errorf("reset signal %d: %w", s, err)
		}
	}
	return nil
}

// defaultAction is a struct sigaction with SIG_DFL.
var defaultAction [4]uintptr

// OutputAs runs a program as another user, with no supplementary groups, and returns its
// standard output; when it fails, an *exec.ExitError with its standard error. Without CAP_SETUID
// and CAP_SETGID it runs as the real user, with none of the process's privilege either way.
func OutputAs(cmd *exec.Cmd, uid, gid uint32) ([]byte, error) {
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	const needs = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	now, err := CurrentCapabilities()
	if err != nil {
		return nil, err
	}
	if now.Permitted&needs != needs {
		return cmd.Output()
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	// The fork happens on this thread; only it has the capabilities, for that long.
	if err := SetEffective(now.Effective | needs); err != nil {
		return nil, err
	}
	err = cmd.Start()
	if lower := SetEffective(now.Effective); lower != nil {
		goruntime.LockOSThread() // once more than it is unlocked: nobody uses the thread again
		return nil, errors.Join(err, lower)
	}
	if err == nil {
		err = cmd.Wait()
	}
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		failed.Stderr = problem.Bytes()
	}
	return out.Bytes(), err
}
