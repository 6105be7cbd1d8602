package nsexec

import (
	"fmt"
	"math"
	goruntime "runtime"

	"golang.org/x/sys/unix"
)

// root are the ids to which belongs what a container is made with: PID 1, user namespaces, what is on disk.
var root struct{ uid, gid uintptr }

// SetRoot makes ids other than 0 those of root. A program in a user namespace that maps a single id has no other to
// be root with. It is called before anything else of this package.
func SetRoot(uid, gid int) { root.uid, root.gid = uintptr(uid), uintptr(gid) }

// ActOnFilesAsRoot is ActOnFilesAs with root's ids.
func ActOnFilesAsRoot(effective uint64) error {
	return ActOnFilesAs(int(root.uid), int(root.gid), effective)
}

// KillAsRoot kills a process of root's, such as PID 1 of a container, which is open as
// a pidfd. It needs CAP_SETUID. The thread that is root for it is thrown away.
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
	if err := Undumpable(); err != nil { // the change of ids may have set it again
		return err
	}
	err := unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
	if err != nil && err != unix.ESRCH {
		return fmt.Errorf("kill PID 1: %w", err)
	}
	return nil
}
