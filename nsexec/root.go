package nsexec

import (
	"fmt"
	"math"
	goruntime "runtime"

	"golang.org/x/sys/unix"
)

// root are the ids that own what a container is made with: PID 1, user namespaces, and
// what is on disk. They are 0, unless SetRoot has said otherwise.
var root struct{ uid, gid uintptr }

// SetRoot sets root's ids, for the whole package. A program in a user namespace that
// maps a single id, which is not 0, has no other id to be root with. It must be called
// before any other function of this package, and before the program starts a goroutine
// that calls one.
func SetRoot(uid, gid int) { root.uid, root.gid = uintptr(uid), uintptr(gid) }

// ActOnFilesAsRoot is ActOnFilesAs with root's ids. The same holds for the thread.
func ActOnFilesAsRoot(effective uint64) error {
	return ActOnFilesAs(int(root.uid), int(root.gid), effective)
}

// KillAsRoot kills a process of root's, such as PID 1 of a container, which is open as
// a pidfd (the caller owns it). A process that has ended already is no error.
//
// It may be called from any goroutine: another thread of the process becomes root for
// it, and ends with that. CAP_SETUID must be permitted to every thread of the process
// on which goroutines run.
func KillAsRoot(pidfd int) error {
	done := make(chan error, 1)
	go func() {
		goruntime.LockOSThread()
		done <- killAsRoot(pidfd)
	}()
	return <-done
}

func killAsRoot(pidfd int) error {
	if err := SetEffective(1 << unix.CAP_SETUID); err != nil {
		return err
	}
	const keep = math.MaxUint32
	if err := raw(unix.SYS_SETRESUID, keep, root.uid, keep); err != nil {
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
