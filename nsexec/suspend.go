package nsexec

import (
	"fmt"
	goruntime "runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Suspend stops the process as SIGTSTP does where nobody handles it, and returns when it
// goes on. It returns at once where nobody could continue the process: the kernel stops no
// member of an orphaned process group. What handler there was is there again afterwards.
func Suspend() error {
	goruntime.LockOSThread() // the signal is for this thread: it has stopped when the call returns
	defer goruntime.UnlockOSThread()
	var before [4]uintptr
	action := func(new, old *[4]uintptr) error {
		return raw4(unix.SYS_RT_SIGACTION, uintptr(unix.SIGTSTP), uintptr(unsafe.Pointer(new)), uintptr(unsafe.Pointer(old)), 8)
	}
	if err := action(&defaultAction, &before); err != nil {
		return fmt.Errorf("reset SIGTSTP: %w", err)
	}
	err := unix.Tgkill(unix.Getpid(), unix.Gettid(), unix.SIGTSTP)
	return firstError(err, action(&before, nil))
}
