package nsexec

import (
	"fmt"
	goruntime "runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Suspend stops the process as SIGTSTP does where nobody handles it, and returns when
// it goes on; with job, its process group with it, as a terminal does. It returns at
// once where nobody could continue the process: the kernel stops no member of an
// orphaned process group. What handler there was is there again afterwards.
func Suspend(job bool) error {
	goruntime.LockOSThread() // the signal is for this thread: it has stopped when the call returns
	defer goruntime.UnlockOSThread()
	var before [4]uintptr
	if err := onSuspend(&ignore, &before); err != nil {
		return err
	}
	if job { // the others; this process would stop at some moment, and then again
		_ = unix.Kill(0, unix.SIGTSTP)
	}
	err := onSuspend(&defaultAction, nil)
	if err == nil {
		err = unix.Tgkill(unix.Getpid(), unix.Gettid(), unix.SIGTSTP)
	}
	return firstError(err, onSuspend(&before, nil))
}

// onSuspend sets what SIGTSTP does.
func onSuspend(action, before *[4]uintptr) error {
	if err := raw4(unix.SYS_RT_SIGACTION, uintptr(unix.SIGTSTP), uintptr(unsafe.Pointer(action)), uintptr(unsafe.Pointer(before)), 8); err != nil {
		return fmt.Errorf("set SIGTSTP: %w", err)
	}
	return nil
}
