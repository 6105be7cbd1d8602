// Package mount makes, copies, changes and attaches mounts by file descriptor.
//
// It wraps the mount API that Linux grew in 5.2 (fsopen, fsmount, open_tree,
// move_mount), 5.6 (openat2) and 5.12 (mount_setattr). No function of this
// package takes a path twice: a source is opened once, a target is resolved
// once, and the kernel is handed the descriptors. That is what makes it safe to
// mount into a directory tree whose author is hostile.
package mount

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// A Tree is a mount, with the mounts below it, held by descriptor. It is
// detached (in no mount namespace) until Attach, and an unattached Tree
// disappears with its descriptor.
//
// The holder of a Tree owns its descriptor and must Close it, attached or not.
type Tree struct{ fd int }

// TreeFromFD takes ownership of a descriptor that fsmount(2) or open_tree(2)
// returned elsewhere, in another process for instance.
func TreeFromFD(fd int) Tree { return Tree{fd} }

// FD returns the descriptor, still owned by the Tree.
func (t Tree) FD() int { return t.fd }

// Close closes the descriptor. A Tree that was never attached is unmounted by it.
func (t Tree) Close() error { return closeFD(t.fd) }

// New makes an instance of the file system fstype and a detached mount of it
// with the given attributes (MOUNT_ATTR_*). data are the file system's own
// parameters, "size=64m" or "newinstance". The instance belongs to the
// namespaces of the calling thread: procfs to its PID namespace, mqueue to its
// IPC namespace, and so on. files are parameters that are open files, which the caller keeps. See fsopen(2),
// fsconfig(2), fsmount(2).
func New(fstype string, data []string, attrs uint64, files ...File) (Tree, error) {
	fs, err := fsopen(fstype)
	if err != nil {
		return Tree{}, fmt.Errorf("fsopen %s: %w", fstype, err)
	}
	defer closeFD(fs)
	for _, parameter := range data {
		if err := configure(fs, parameter); err != nil {
			return Tree{}, fmt.Errorf("fsconfig %s %s: %w%s", fstype, parameter, err, complaint(fs))
		}
	}
	for _, f := range files {
		key, err := path0(f.Parameter)
		if err == nil {
			err = fsconfigFD(fs, key, f.FD)
		}
		if err != nil {
			return Tree{}, fmt.Errorf("fsconfig %s %s: %w%s", fstype, f.Parameter, err, complaint(fs))
		}
	}
	if err := fsconfig(fs, unix.FSCONFIG_CMD_CREATE, nil, nil); err != nil {
		return Tree{}, fmt.Errorf("create %s: %w%s", fstype, err, complaint(fs))
	}
	fd, err := fsmount(fs, attrs)
	if err != nil {
		return Tree{}, fmt.Errorf("fsmount %s: %w%s", fstype, err, complaint(fs))
	}
	return Tree{fd}, nil
}

// A File is a parameter of a file system that is an open file, such as a layer of an overlay (since Linux 6.13).
type File struct {
	Parameter string
	FD        int
}

func configure(fs int, parameter string) error {
	key, value, isString := strings.Cut(parameter, "=")
	k, err := path0(key)
	if err != nil {
		return err
	}
	if !isString {
		return fsconfig(fs, unix.FSCONFIG_SET_FLAG, k, nil)
	}
	v, err := path0(value)
	if err != nil {
		return err
	}
	return fsconfig(fs, unix.FSCONFIG_SET_STRING, k, v)
}

// complaint returns what the kernel wrote into the log of a file-system context,
// the only place where it says which parameter it did not like and why.
func complaint(fs int) string {
	var line [256]byte
	n, err := unix.Read(fs, line[:])
	if err != nil || n < 3 {
		return ""
	}
	return " (" + strings.TrimSpace(string(line[2:n])) + ")"
}

// Clone copies the mount at path (relative to dirfd; the descriptor itself when
// path is empty) into a detached Tree, with the mounts below it when recursive.
// The source must be in the mount namespace of the calling thread. The copy is
// made private, so that nothing propagates to or from the original: as the kernel
// makes it, it is a peer of a shared original (which systemd makes all of a host's
// mounts), and what is mounted on it would appear there. See open_tree(2).
func Clone(dirfd int, path string, recursive bool) (Tree, error) {
	return clone(dirfd, path, recursive, unix.MS_PRIVATE)
}

// CloneSlave is Clone of a Tree that follows the original where that is shared: what is mounted on the original
// later is mounted on the copy too, with the attributes that it has there, and unmounted with it. Nothing propagates to the original.
func CloneSlave(dirfd int, path string, recursive bool) (Tree, error) {
	return clone(dirfd, path, recursive, unix.MS_SLAVE)
}

func clone(dirfd int, path string, recursive bool, propagation uint64) (Tree, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_EMPTY_PATH | unix.AT_NO_AUTOMOUNT)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	fd, err := openTree(dirfd, path, flags)
	if err != nil {
		return Tree{}, fmt.Errorf("open_tree %s: %w", path, err)
	}
	t := Tree{fd}
	if err := setattr(fd, "", recursive, unix.MountAttr{Propagation: propagation}); err != nil {
		return Tree{}, errors.Join(err, t.Close())
	}
	return t, nil
}

// SetAttrs sets and clears attributes (MOUNT_ATTR_*) of the mount, and of all
// below it when recursive, in one step. See mount_setattr(2).
func (t Tree) SetAttrs(set, clear uint64, recursive bool) error {
	if clear&unix.MOUNT_ATTR__ATIME != 0 {
		clear |= unix.MOUNT_ATTR__ATIME
	}
	return setattr(t.fd, "", recursive, unix.MountAttr{Attr_set: set, Attr_clr: clear})
}

// MapIDs makes the files of the mount belong to others than their file system says: whom it says owner N, is N of a user
// namespace. So they have the owners in that namespace that they would have without one. The Tree must never have been
// attached; the thread needs CAP_SYS_ADMIN. EINVAL says that the file system cannot do it: BTRFS can since Linux
// 5.15. See mount_setattr(2), MOUNT_ATTR_IDMAP.
func (t Tree) MapIDs(userns int) error {
	return setattr(t.fd, "", false, unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userns)})
}

// Attach puts the mount on the target and leaves the Tree usable: changing its
// attributes changes the mount that was attached.
func (t Tree) Attach(target Target) error {
	if err := moveMount(t.fd, target.fd, ""); err != nil {
		return fmt.Errorf("move_mount onto %s: %w", target.path, err)
	}
	return nil
}

// MakePrivate ends mount propagation in both directions for the mount at path
// and all below it, in the mount namespace of the calling thread.
func MakePrivate(path string) error {
	return setattr(unix.AT_FDCWD, path, true, unix.MountAttr{Propagation: unix.MS_PRIVATE})
}

func setattr(dirfd int, path string, recursive bool, attr unix.MountAttr) error {
	flags := uint(unix.AT_EMPTY_PATH | unix.AT_SYMLINK_NOFOLLOW)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	if err := mountSetattr(dirfd, path, flags, &attr); err != nil {
		return fmt.Errorf("mount_setattr %s: %w", path, err)
	}
	return nil
}

// AttachTo puts the mount on the directory at path, as the calling thread sees it:
// for a place that is the thread's own and that nobody else can change.
func (t Tree) AttachTo(path string) error {
	if err := moveMount(t.fd, unix.AT_FDCWD, path); err != nil {
		return fmt.Errorf("move_mount onto %s: %w", path, err)
	}
	return nil
}

// Pivot makes an attached Tree the root directory and the working directory of the
// calling thread, and of every other task whose root was the old one, and lets go
// of the old root and all mounts below it. The thread must have a mount namespace
// of its own. See pivot_root(2): "." as both arguments stacks the old root on the
// new one, from where umount2 can reach it without a directory to hold it. Nothing
// may be mounted over the old root directory itself: umount2 would take only that.
func Pivot(root Tree) error {
	if err := unix.Fchdir(root.fd); err != nil {
		return fmt.Errorf("enter new root: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("detach old root: %w", err)
	}
	return unix.Chdir("/")
}
