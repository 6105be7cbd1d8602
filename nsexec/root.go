package nsexec

import (
	"fmt"
	"math"
	goruntime "runtime"

	"golang.org/x/sys/unix"
)

// A Root is who owns what a container is made with: PID 1, user namespaces, and what is
// on disk. It is 0:0, but for a program in a user namespace that maps a single id,
// which has no other id to be root with.
type Root struct{ UID, GID uint32 }

// KillAsRoot kills a process of root's, such as PID 1 of a container, which is open as
// a pidfd (the caller owns it). A process that has ended already is no error.
//
// It may be called from any goroutine: another thread of the process becomes root for
// it, and ends with that. CAP_SETUID must be permitted to every thread of the process
// on which goroutines run.
func KillAsRoot(root Root, pidfd int) error {
	done := make(chan error, 1)
	go func() {
		goruntime.LockOSThread()
		done <- killAsRoot(root, pidfd)
	}()
	return <-done
}

func killAsRoot(root Root, pidfd int) error {
	if err := SetEffective(1 << unix.CAP_SETUID); err != nil {
		return err
	}
	const keep = math.MaxUint32
	if err := raw(unix.SYS_SETRESUID, keep, uintptr(root.UID), keep); err != nil {
		return fmt.Errorf("setresuid: %w", err)
	}
	// By the change of ids the kernel sets the dumpable flag anew, for the whole
	// process, by fs.suid_dumpable.
	if err := Undumpable(); err != nil {
		return err
	}
	err := unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
	if err != nil && err != unix.ESRCH {
		return fmt.Errorf("kill PID 1: %w", err)
	}
	return nil
}
