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

// Credentials are the ids and the capability sets of a thread.
type Credentials struct {
	UID, GID ThreeIDs
	Capabilities
}

// ThreeIDs are the real, the effective and the saved id of a user or group.
type ThreeIDs struct{ Real, Effective, Saved int }

// Settled tells whether the effective and the saved id are the real one.
func (i ThreeIDs) Settled() bool { return i.Effective == i.Real && i.Saved == i.Real }

// Capabilities are sets of a thread's; bit N is capability N. See capabilities(7).
type Capabilities struct{ Effective, Permitted, Inheritable uint64 }

// CurrentCredentials returns the credentials of the calling thread, which must be
// locked, unless all threads have the same. It needs no capability.
func CurrentCredentials() (Credentials, error) {
	var c Credentials
	var err error
	c.UID.Real, c.UID.Effective, c.UID.Saved = unix.Getresuid()
	c.GID.Real, c.GID.Effective, c.GID.Saved = unix.Getresgid()
	c.Capabilities, err = CurrentCapabilities()
	return c, err
}

// SettleProcess changes every thread of the process, and so those that are made later:
//
//   - The user and the group become the real, effective, saved and file-system ids.
//   - The supplementary groups become groups; nil: they stay.
//   - Of the permitted capabilities those in keep stay permitted. None is effective,
//     inheritable or ambient.
//
// It is for the start of a program. Any thread may call it; all must have the same
// credentials still. A change of ids or groups needs CAP_SETUID and CAP_SETGID; of ids
// it does not where they are real or saved ones. The program must not use cgo
// (syscall.AllThreadsSyscall).
func SettleProcess(uid, gid int, groups []int, keep uint64) error {
	now, err := CurrentCredentials()
	if err != nil {
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
		if err := changeUser(uid); err != nil {
			return err
		}
	}
	keep &= now.Permitted
	// The kernel takes from the ambient set what is not inheritable any more.
	data := Capabilities{Permitted: keep}.data()
	return everywhere("capset", unix.SYS_CAPSET, uintptr(unsafe.Pointer(&capHeader)), uintptr(unsafe.Pointer(&data)))
}

// changeUser changes the user of every thread, and keeps the permitted set, which a
// change away from uid 0 would empty. To change all threads takes a tenth of a
// millisecond a call.
func changeUser(uid int) error {
	if err := everywhere("keep capabilities", unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1); err != nil {
		return err
	}
	if err := syscall.Setresuid(uid, uid, uid); err != nil {
		return fmt.Errorf("setresuid %d: %w", uid, err)
	}
	return everywhere("keep capabilities", unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 0)
}

// everywhere makes a system call on every thread. What a pointer among the arguments
// points to is kept on the heap, since a stack could move meanwhile.
//
//go:uintptrescapes
func everywhere(what string, number, a, b uintptr) error {
	if _, _, errno := syscall.AllThreadsSyscall6(number, a, b, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("%s: %w", what, errno)
	}
	return nil
}

// ResetInheritance stops the interval timers of the process, and gives those ignored
// signals their default action that the Go runtime leaves ignored: both are kept over
// execve(2), so a caller can disturb the program by them. (The Go runtime itself
// handles most signals, and os/signal handles SIGINT and SIGHUP. The signal mask and
// the descriptors are the entry point's, before the Go runtime starts.)
//
// It is for the start of a program. It concerns the process: any thread may call it,
// and needs no capability.
func ResetInheritance() error {
	var off unix.Itimerval
	for _, which := range []unix.ItimerWhich{unix.ItimerReal, unix.ItimerVirtual, unix.ItimerProf} {
		if _, err := unix.Setitimer(which, off); err != nil {
			return fmt.Errorf("setitimer: %w", err)
		}
	}
	// Signals that the Go runtime leaves as it finds them: those of job control, and
	// two that C libraries have for themselves (glibc's SIGCANCEL, musl's SIGSYNCCALL).
	for _, s := range []syscall.Signal{unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, 32, 34} {
		var now [4]uintptr
		if s == unix.SIGTSTP && raw4(unix.SYS_RT_SIGACTION, uintptr(s), 0, uintptr(unsafe.Pointer(&now)), 8) == nil && now[0] != ignore[0] {
			continue // the program has a handler of its own by now
		}
		if err := raw4(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&defaultAction)), 0, 8); err != nil {
			return fmt.Errorf("reset signal %d: %w", s, err)
		}
	}
	return nil
}

// defaultAction is a struct sigaction of the kernel's, with SIG_DFL. Nothing writes to
// it.
var defaultAction [4]uintptr

// OutputAs runs a program with the ids of another user and group and no supplementary
// groups, waits for it, and returns its standard output. Where the process is not
// permitted CAP_SETUID and CAP_SETGID, the program runs with the process's ids. A
// program that fails gives an *exec.ExitError with its standard error.
//
// It may be called from any goroutine that is not locked, whose thread's capabilities
// are changed meanwhile.
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
	// This thread forks the program: it alone has the capabilities effective, and only
	// until then.
	if err := SetEffective(now.Effective | needs); err != nil {
		return nil, err
	}
	err = cmd.Start()
	if lower := SetEffective(now.Effective); lower != nil {
		goruntime.LockOSThread() // once more than it is unlocked: the thread ends with this goroutine
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
