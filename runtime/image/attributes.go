package image

import (
	"fmt"

	"golang.org/x/sys/unix"

	"mayfly/mount"
)

// closedMount are the attributes of a store's mount, as statfs(2) tells them.
const closedMount = unix.ST_NOSUID | unix.ST_NODEV

// openMount tells whether an open directory is on a mount where device nodes and setuid
// programs would work, and whether it is the root of that mount: only then the mount is
// the store's own.
func openMount(fd int) (open, own bool, err error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return false, false, fmt.Errorf("statfs: %w", err)
	}
	place, err := mount.TreeFromFD(fd).Place()
	return st.Flags&closedMount != closedMount, place.IsMountRoot, err
}

// OpenMount tells whether the store is mounted by itself, and so that device nodes and
// setuid programs in it work.
func (s *Store) OpenMount() (bool, error) {
	open, own, err := openMount(s.fd)
	return open && own, err
}

// closeMount gives a store's own mount nosuid and nodev.
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
