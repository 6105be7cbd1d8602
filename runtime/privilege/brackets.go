package privilege

import (
	"errors"
	"os"
	goruntime "runtime"

	"mayfly/nsexec"
	"mayfly/runtime/here"
)

// AsRoot and AsUser are the only two brackets that change what a thread may do. Each gives the
// thread back exactly as it found it.

// AsRoot calls f on a locked thread that acts on files as root, with these capabilities effective
// and no others. What f opens it opens with root's rights: no path of the caller's belongs in there.
func AsRoot(h here.Here, capabilities uint64, f func() error) error {
	if h.Rootless() {
		capabilities |= OverlayCapabilities // the way to the caller's directory is the caller's
	}
	return bracket(func() error { return nsexec.ActOnFilesAs(int(h.Root().UID), int(h.Root().GID), capabilities) }, f)
}

// AsUser calls f on a locked thread that acts on files as a user could: with their ids, and these
// capabilities.
func AsUser(uid, gid uint32, capabilities uint64, f func() error) error {
	return bracket(func() error { return nsexec.ActOnFilesAs(int(uid), int(gid), capabilities) }, f)
}

// AsCaller calls f as the caller could act on files, without this program: with no capability,
// or for root with root's.
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

// bracket calls f between enter and the return to the thread's own rights.
func bracket(enter, f func() error) error {
	goruntime.LockOSThread()
	before, err := nsexec.CurrentRights()
	if err != nil {
		goruntime.UnlockOSThread()
		return err
	}
	if err = enter(); err == nil {
		err = f()
	}
	// If this fails the thread stays locked, and is thrown away with its goroutine.
	if restore := before.Restore(); restore != nil {
		return errors.Join(err, restore)
	}
	goruntime.UnlockOSThread()
	return err
}
