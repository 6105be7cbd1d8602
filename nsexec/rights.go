package nsexec

import "golang.org/x/sys/unix"

// Rights are what a thread may do with files: its ids for files (see SetFSIDs), and its
// effective capabilities.
type Rights struct {
	uid, gid  int
	effective uint64
}

// CurrentRights returns those of the calling thread.
func CurrentRights() (Rights, error) {
	caps, err := CurrentCapabilities()
	if err != nil {
		return Rights{}, err
	}
	uid, _ := unix.SetfsuidRetUid(-1)
	gid, _ := unix.SetfsgidRetGid(-1)
	return Rights{uid, gid, caps.Effective}, nil
}

// Restore gives the calling thread these rights, which it had before. It needs
// CAP_SETUID and CAP_SETGID, permitted, where the ids are others by now.
func (r Rights) Restore() error {
	uid, _ := unix.SetfsuidRetUid(-1)
	gid, _ := unix.SetfsgidRetGid(-1)
	if uid == r.uid && gid == r.gid {
		return SetEffective(r.effective)
	}
	return ActOnFilesAs(r.uid, r.gid, r.effective)
}
