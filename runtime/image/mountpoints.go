package image

import (
	"errors"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"mayfly/mount"
)

// mountPoints are files and directories that a launch mounts on. Where an image
// has them already, no launch needs to make them in its snapshot.
var mountPoints = struct{ directories, files []string }{
	[]string{"/dev", "/home", "/opt", "/proc", "/run", "/sys", "/tmp", "/var/tmp"},
	[]string{"/etc/group", "/etc/hostname", "/etc/hosts", "/etc/localtime", "/etc/passwd", "/etc/resolv.conf"},
}

// IsMountPoint tells whether every version has something to mount on there.
func IsMountPoint(name string) bool {
	return slices.Contains(mountPoints.directories, name) || slices.Contains(mountPoints.files, name)
}

// makeMountPoints makes those mount points that the image does not have, and lets everybody into its root
// directory. The times are those that the directory around had before: the same content gets the same digest.
func makeMountPoints(fd int) error {
	root := mount.RootAt(fd)
	here, err := mount.TreeFromFD(fd).Place()
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, st.Mode&0o7777|0o555); err != nil {
		return err
	}
	for _, name := range mountPoints.directories {
		if target, err := root.Dir(name); err == nil {
			target.Close()
			continue
		}
		if err := makeMountPoint(root, name, true, here.MountID); err != nil && !inTheWay(err) {
			return err
		}
	}
	for _, name := range mountPoints.files {
		if target, err := root.Name(name); err == nil { // a link that leads nowhere will do
			target.Close()
			continue
		}
		if err := makeMountPoint(root, name, false, here.MountID); err != nil && !inTheWay(err) {
			return err
		}
	}
	return nil
}

// inTheWay tells that the image has something else where a mount point would be: that is for the launch to say that
// wants to mount there.
func inTheWay(err error) bool {
	return errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// makeMountPoint makes one with the directories above it, and takes back what that does to the time of the one
// that was there.
func makeMountPoint(root mount.Root, name string, dir bool, mountID uint64) error {
	above := path.Dir(name)
	for {
		target, err := root.Dir(above)
		if err == nil {
			target.Close()
			break
		}
		if err != unix.ENOENT {
			return err
		}
		above = path.Dir(above)
	}
	fd, err := root.Open(above, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if _, err := root.Create(name, dir, mountID); err != nil {
		return err
	}
	times := []unix.Timespec{st.Mtim, st.Mtim}
	for made := name; made != above; made = path.Dir(made) {
		made, err := root.Open(made, unix.O_RDONLY|unix.O_NONBLOCK)
		if err != nil {
			return err
		}
		err = unix.UtimesNanoAt(made, "", times, unix.AT_EMPTY_PATH)
		unix.Close(made)
		if err != nil {
			return err
		}
	}
	return unix.UtimesNanoAt(fd, "", times, unix.AT_EMPTY_PATH)
}
