package nsexec

import "golang.org/x/sys/unix"

// Rights are what a thread may do with files: its ids for files (see SetFSIDs), and its
// effective capabilities.
type Rights struct {
	uid, gid  int
	effective uint64
}

// CurrentRights returns those of the calling thread, which must be locked.
func CurrentRights() (Rights, error) {
	caps, err := CurrentCapabilities()
	if err != nil {
		return Rights{}, err
	}
	uid, _ := unix.SetfsuidRetUid(-1)
	gid, _ := unix.SetfsgidRetGid(-1)
	return Rights{uid, gid, caps.Effective}, nil
}

// Take gives the calling thread these rights, which it had before, or which another
// thread of the process has. The thread must be locked. The capabilities must be
// permitted, and where its ids are others so must CAP_SETUID and CAP_SETGID.
func (r Rights) Take() error {
	uid, _ := unix.SetfsuidRetUid(-1)
	gid, _ := unix.SetfsgidRetGid(-1)
	if uid == r.uid && gid == r.gid {
		return SetEffective(r.effective)
	}
	return ActOnFilesAs(r.uid, r.gid, r.effective)
}
