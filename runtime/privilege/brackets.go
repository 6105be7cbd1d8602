package privilege

import (
	"errors"
	"fmt"
	"os"
	goruntime "runtime"

	"mayfly/nsexec"
	"mayfly/runtime/here"
)

// exitCode is the program's own, as for every failure before a command.
const exitCode = 125

// AsRoot and AsUser are the only brackets that change what a thread may do. Each
// restores the thread's rights as it found them, or ends the process: nothing may go on
// with rights that were meant for f.

// AsRoot calls f on a locked thread that acts on files as root (setfsuid(2)). Exactly
// these capabilities are effective meanwhile; in a rootless program OverlayCapabilities
// too. f opens files with root's rights, so it must use no path of the caller's. The
// thread needs CAP_SETUID and CAP_SETGID permitted.
func AsRoot(h here.Here, capabilities uint64, f func() error) error {
	if h.Rootless() {
		capabilities |= OverlayCapabilities // the directory is below the caller's own
	}
	return bracket(int(h.Root().UID), int(h.Root().GID), capabilities, f)
}

// AsUser calls f on a locked thread that acts on files with a user's ids and exactly
// these capabilities. It needs what AsRoot needs.
func AsUser(uid, gid uint32, capabilities uint64, f func() error) error {
	return bracket(int(uid), int(gid), capabilities, f)
}

// AsCaller calls f with the caller's rights on files as they would be without this
// program: with no capability, or if the caller is root, with all that are permitted.
func AsCaller(uid, gid uint32, f func() error) error {
	capabilities := None
	if os.Getuid() == 0 {
		have, err := nsexec.CurrentCapabilities()
		if err != nil {
			return err
		}
		capabilities = have.Permitted
	}
	return AsUser(uid, gid, capabilities, f)
}

// bracket calls f on a locked thread with these rights, and restores those that it had.
// Where that fails (setfsuid(2) may for want of memory) the thread could be root's for
// files for good, and the main thread writes to paths of the caller's later. So the
// process ends, without deferred functions. The container ends with it, and `gc`
// collects what is left.
func bracket(uid, gid int, capabilities uint64, f func() error) error {
	goruntime.LockOSThread()
	before, err := nsexec.ActOnFilesAs(uid, gid, capabilities)
	if err == nil {
		err = f()
	}
	if restore := before.Restore(); restore != nil {
		fmt.Fprintf(os.Stderr, "runtime: restore the rights of a thread: %v; the program ends, so that nothing is done with root's rights; `runtime gc` collects what is left\n", errors.Join(err, restore))
		os.Exit(exitCode)
	}
	goruntime.UnlockOSThread()
	return err
}
