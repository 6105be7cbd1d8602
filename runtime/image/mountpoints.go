package image

import (
	"errors"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"mayfly/mount"
)

// mountPoints are the files and directories on which a launch mounts something. If a
// version has them, no launch needs a snapshot to make them.
var mountPoints = struct{ directories, files []string }{
	[]string{"/dev", "/home", "/opt", "/proc", "/run", "/sys", "/tmp", "/var/tmp"},
	[]string{"/etc/group", "/etc/hostname", "/etc/hosts", "/etc/localtime", "/etc/passwd", "/etc/resolv.conf"},
}

// linkedDirectories are made at sealing only if they are symbolic links that lead
// nowhere. They often contain what callers bind, and homes.
var linkedDirectories = []string{"/media", "/mnt", "/root", "/srv", "/usr/local"}

// IsMountPoint returns whether every version has a mount point at a path.
func IsMountPoint(name string) bool {
	return slices.Contains(mountPoints.directories, name) || slices.Contains(mountPoints.files, name)
}

// makeMountPoints makes the mount points that the image lacks, and lets all users enter
// its root directory. It restores the times of the directories above, so that the same
// content has the same digest.
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
	for _, name := range linkedDirectories {
		if err := makeIfLink(root, name, here.MountID); err != nil && !inTheWay(err) {
			return err
		}
	}
	for _, name := range mountPoints.directories {
		if target, err := root.Dir(name); err == nil {
			target.Close()
			continue
		}
		if err := makeThroughLinks(root, name, here.MountID); err != nil && !inTheWay(err) {
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

// makeThroughLinks makes a directory. If its name is a symbolic link that leads
// nowhere, it makes the directory to which the link leads. Systems that are updated as
// a whole have such links, and make the directories at boot.
func makeThroughLinks(root mount.Root, name string, mountID uint64) error {
	err := makeMountPoint(root, name, true, mountID)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	target, err := root.Target(name)
	if err != nil {
		return err
	}
	return makeMountPoint(root, target, true, mountID)
}

func makeIfLink(root mount.Root, name string, mountID uint64) error {
	target, err := root.Name(name)
	if err != nil {
		return nil // there is no such link
	}
	target.Close()
	if target, err = root.Dir(name); err == nil {
		return target.Close()
	}
	return makeThroughLinks(root, name, mountID)
}

// inTheWay returns whether an error means that the image has something else in the
// place of a mount point. A launch that mounts there will say so.
func inTheWay(err error) bool {
	return errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// makeMountPoint makes a mount point and the missing directories above it, and restores
// the time of the deepest existing directory. It opens nothing: an image can have a
// device node in the place of a mount point, and to open a device can have side
// effects.
func makeMountPoint(root mount.Root, name string, dir bool, mountID uint64) error {
	above := path.Dir(name)
	for {
		target, err := root.Dir(above)
		if err == nil {
			defer target.Close()
			return fillIn(root, name, dir, mountID, target.FD())
		}
		if err != unix.ENOENT {
			return err
		}
		above = path.Dir(above)
	}
}

// fillIn makes the missing parts of name. above is its deepest existing directory.
func fillIn(root mount.Root, name string, dir bool, mountID uint64, above int) error {
	var st unix.Stat_t
	if err := unix.Fstat(above, &st); err != nil {
		return err
	}
	times := []unix.Timespec{st.Mtim, st.Mtim}
	made, err := root.Create(name, dir, mountID)
	if err != nil {
		return err
	}
	if made == 0 { // something of another kind
		return unix.EEXIST
	}
	for ; made > 0; made-- {
		target, err := root.Name(name)
		if err != nil {
			return err
		}
		err = unix.UtimesNanoAt(target.FD(), "", times, unix.AT_EMPTY_PATH)
		target.Close()
		if err != nil {
			return err
		}
		name = path.Dir(name)
	}
	return unix.UtimesNanoAt(above, "", times, unix.AT_EMPTY_PATH)
}
