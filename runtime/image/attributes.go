package image

import (
	"fmt"

	"golang.org/x/sys/unix"

	"mayfly/mount"
)

// closedMount are the mount attributes of a store, as flags of statfs(2).
const closedMount = unix.ST_NOSUID | unix.ST_NODEV

// openMount returns whether device nodes and setuid programs work on the mount of an
// open directory, and whether the directory is the root of that mount. Only then the
// mount is the store's own.
func openMount(fd int) (open, own bool, err error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return false, false, fmt.Errorf("statfs: %w", err)
	}
	place, err := mount.TreeFromFD(fd).Place()
	return st.Flags&closedMount != closedMount, place.IsMountRoot, err
}

// OpenMount returns whether the store has a mount of its own on which device nodes and
// setuid programs work.
func (s *Store) OpenMount() (bool, error) {
	open, own, err := openMount(s.fd)
	return open && own, err
}

// closeMount sets nosuid and nodev on a store's own mount.
func closeMount(path string) error {
	fd, err := openDirectory(unix.AT_FDCWD, path)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	open, own, err := openMount(fd)
	if err == nil && open && own {
		err = mount.TreeFromFD(fd).SetAttrs(unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, 0, false)
	}
	if err != nil {
		return fmt.Errorf("mount store %s nosuid, nodev: %w", path, err)
	}
	return nil
}
