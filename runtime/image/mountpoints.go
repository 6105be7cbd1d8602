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

// linkedDirectories are made at sealing only where they are symbolic links that lead nowhere:
// what callers bind is often in them, and homes are.
var linkedDirectories = []string{"/media", "/mnt", "/root", "/srv", "/usr/local"}

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

// makeThroughLinks makes a directory, where its name is a symbolic link that leads
// nowhere the directory that it would lead to: systems that are updated as a whole have
// such links, to what they make when they boot.
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

// inTheWay tells that the image has something else where a mount point would be: that is for the launch to say that
// wants to mount there.
func inTheWay(err error) bool {
	return errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// makeMountPoint makes one with the directories above it, and takes back what that does
// to the time of the one that was there. Nothing is opened: an image can have a device
// where a mount point would be, and to open one can start what it drives.
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

// fillIn makes what is missing of name. above is the deepest directory of it that is there.
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
