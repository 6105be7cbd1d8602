package grant

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// A State is a file's grant, and what decides its effect.
type State struct {
	Kind      Kind
	Permitted uint64 // of file capabilities
	Mode      uint32 // permission bits
	UID, GID  uint32
	NoSUID    bool  // the file system is mounted nosuid, so the grant has no effect
	Untrusted error // not nil: others than root can change the file
}

// Look returns the state of a binary. It needs no privilege.
func Look(path string) (State, error) {
	var s State
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return s, fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return s, fmt.Errorf("stat %s: %w", path, err)
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return s, fmt.Errorf("statfs %s: %w", path, err)
	}
	s.Mode, s.UID, s.GID = st.Mode&0o7777, st.Uid, st.Gid
	s.NoSUID = fs.Flags&unix.ST_NOSUID != 0
	if st.Mode&unix.S_ISUID != 0 && st.Uid == 0 {
		s.Kind = SetUID
	}
	data := make([]byte, 64)
	if n, err := unix.Getxattr(path, attribute, data); err == nil {
		if s.Permitted, err = decode(data[:n]); err != nil {
			return s, fmt.Errorf("%s: %w", path, err)
		}
		s.Kind = FileCapabilities
	}
	if trusted, err := openTrusted(path); err == nil {
		unix.Close(trusted)
	} else if err != nil && st.Mode&0o004 != 0 { // openTrusted needs to read the file
		s.Untrusted = err
	}
	return s, nil
}

// Like returns the kind and the group of another binary's grant. As with Apply, only
// root may be able to write to that binary.
func Like(path string) (Kind, int, error) {
	s, err := Look(path)
	if err == nil {
		err = s.Untrusted
	}
	if err != nil {
		return None, 0, err
	}
	if s.Mode&0o001 != 0 {
		return s.Kind, EveryUser, nil
	}
	return s.Kind, int(s.GID), nil
}
