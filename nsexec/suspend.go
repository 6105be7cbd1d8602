package nsexec

import (
	"fmt"
	goruntime "runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Suspend stops the process by SIGTSTP, with the signal's default action, and returns
// when SIGCONT has continued it. With job it first sends SIGTSTP to its whole process
// group, as a terminal does. The kernel stops no member of an orphaned process group,
// since nobody could continue it: then Suspend returns at once.
//
// It may be called from any thread, and needs no capability. The process's handler of
// SIGTSTP is replaced meanwhile, and is back when Suspend returns.
func Suspend(job bool) error {
	goruntime.LockOSThread() // the signal is sent to this thread, which stops in the call
	defer goruntime.UnlockOSThread()
	var before [4]uintptr
	if err := onSuspend(&ignore, &before); err != nil {
		return err
	}
	if job { // this process ignores it here, or it would stop twice
		_ = unix.Kill(0, unix.SIGTSTP)
	}
	err := onSuspend(&defaultAction, nil)
	if err == nil {
		err = unix.Tgkill(unix.Getpid(), unix.Gettid(), unix.SIGTSTP)
	}
	return firstError(err, onSuspend(&before, nil))
}

// onSuspend sets the process's action for SIGTSTP, and reads the one before; nil: it
// does not.
func onSuspend(action, before *[4]uintptr) error {
	if err := raw4(unix.SYS_RT_SIGACTION, uintptr(unix.SIGTSTP), uintptr(unsafe.Pointer(action)), uintptr(unsafe.Pointer(before)), 8); err != nil {
		return fmt.Errorf("set SIGTSTP: %w", err)
	}
	return nil
}
