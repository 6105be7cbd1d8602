package nsexec

import "golang.org/x/sys/unix"

// Rights are what a thread may do with files: its ids for files (see SetFSIDs), and its
// capabilities.
type Rights struct {
	uid, gid int
	caps     Capabilities
	known    bool // false: those that the thread has
}

// setFSIDs are the capabilities by which a thread changes its ids for files.
const setFSIDs = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID

// CurrentRights returns those of the calling thread, which must be locked.
func CurrentRights() (Rights, error) {
	caps, err := CurrentCapabilities()
	if err != nil {
		return Rights{}, err
	}
	uid, _ := unix.SetfsuidRetUid(-1)
	gid, _ := unix.SetfsgidRetGid(-1)
	return Rights{uid, gid, caps, true}, nil
}

// ActOnFilesAs sets the calling thread's ids for files (see SetFSIDs), and then its
// effective capabilities: those in effective, and no other. It returns the rights that
// the thread had, also with an error, for Restore. The thread must be locked;
// CAP_SETUID, CAP_SETGID and all of effective must be permitted.
func ActOnFilesAs(uid, gid int, effective uint64) (before Rights, err error) {
	caps, err := CurrentCapabilities()
	if err != nil {
		return Rights{}, err
	}
	if caps.Effective != setFSIDs {
		if err := setCapabilities(caps.with(setFSIDs)); err != nil {
			return Rights{}, err
		}
	}
	before = Rights{caps: caps, known: true}
	if before.uid, before.gid, err = changeFSIDs(uid, gid); err != nil {
		return before, err
	}
	// The change of ids may have changed the effective set, too.
	return before, setCapabilities(caps.with(effective))
}

// Restore gives the calling thread, which must be locked, the rights that it had before
// ActOnFilesAs. What that has needed must still be permitted, and nothing else must
// have changed.
func (r Rights) Restore() error {
	if !r.known {
		return nil
	}
	if err := setCapabilities(r.caps.with(setFSIDs)); err != nil {
		return err
	}
	if err := SetFSIDs(r.uid, r.gid); err != nil {
		return err
	}
	return setCapabilities(r.caps)
}

// Take gives the calling thread the rights of another thread of the process. The thread
// must be locked. The effective capabilities must be permitted, and where its ids are
// others so must CAP_SETUID and CAP_SETGID.
func (r Rights) Take() error {
	uid, _ := unix.SetfsuidRetUid(-1)
	gid, _ := unix.SetfsgidRetGid(-1)
	if uid == r.uid && gid == r.gid {
		return SetEffective(r.caps.Effective)
	}
	_, err := ActOnFilesAs(r.uid, r.gid, r.caps.Effective)
	return err
}

// with returns the sets with another effective one.
func (c Capabilities) with(effective uint64) Capabilities {
	c.Effective = effective
	return c
}
