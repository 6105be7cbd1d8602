// Package mount makes, copies, changes and attaches mounts by file descriptor, and
// finds and makes mount points in a directory tree whose author is hostile.
//
// It wraps the mount API that Linux has since 5.2 (fsopen, fsmount, open_tree,
// move_mount), 5.6 (openat2) and 5.12 (mount_setattr). A path is resolved once: what it
// leads to is opened, and from then on the kernel gets the descriptor. So nobody can
// exchange what was looked at for something else.
//
// The launch's thread calls it to put a container's file system together, and the
// supervisor's thread for the root file system. Both are locked: which mounts a call
// concerns, by which ids and with which capabilities, are properties of the thread.
// Each function says what it needs of the calling thread; where it says nothing of
// capabilities, the thread's ids for files decide, as for any file.
//
// The package imports the standard library and golang.org/x/sys/unix, and nothing of
// the project.
package mount

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Tree is a mount, with the mounts below it, held by a descriptor. It is detached, in
// no mount namespace, until it is attached; a Tree that was never attached is unmounted
// when its descriptor is closed.
//
// The holder of a Tree owns the descriptor and must Close it, attached or not.
type Tree struct{ fd int }

// TreeFromFD makes a Tree of a descriptor that fsmount(2) or open_tree(2) returned
// elsewhere, such as in PID 1 (nsexec.Init.Proc). The Tree owns it.
func TreeFromFD(fd int) Tree { return Tree{fd} }

// FD returns the descriptor, which the Tree still owns.
func (t Tree) FD() int { return t.fd }

// Close closes the descriptor, and so unmounts a Tree that was never attached.
func (t Tree) Close() error { return closeFD(t.fd) }

// CloseAll closes the descriptors of many Trees, with one system call for those whose
// numbers follow each other.
func CloseAll(list []Tree) error {
	fds := make([]int, 0, len(list))
	for _, t := range list {
		fds = append(fds, t.fd)
	}
	slices.Sort(fds)
	var errs []error
	for first := 0; first < len(fds); {
		next := first + 1
		for next < len(fds) && fds[next] == fds[next-1]+1 {
			next++
		}
		errs = append(errs, unix.CloseRange(uint(fds[first]), uint(fds[next-1]), 0))
		first = next
	}
	return errors.Join(errs...)
}

// New makes an instance of the file system fstype, and a detached mount of it with
// attributes (MOUNT_ATTR_*). data are parameters of the file system, such as "size=64m"
// or "newinstance"; files are parameters that are open files, which the caller owns.
//
// The instance belongs to namespaces of the calling thread: procfs to its PID
// namespace, mqueue to its IPC namespace, and so on. The thread needs CAP_SYS_ADMIN in
// the user namespaces that own these and its mount namespace. An error names the
// parameter, and tells what the kernel says of it. See fsopen(2), fsconfig(2),
// fsmount(2); Linux 5.2.
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

// A File is a parameter of a file system whose value is an open file, such as a layer
// of an overlay (since Linux 6.13).
type File struct {
	Parameter string
	FD        int
}

// configure sets a parameter: "KEY=VALUE", or a flag without a value.
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

// complaint returns the first message in the log of a file-system context, in
// parentheses: only there does the kernel say which parameter it refuses, and why.
func complaint(fs int) string {
	var line [256]byte
	n, err := unix.Read(fs, line[:])
	if err != nil || n < 3 {
		return ""
	}
	return " (" + strings.TrimSpace(string(line[2:n])) + ")"
}

// Clone copies a part of a mount into a detached Tree: what is at path, relative to the
// directory dirfd, or what dirfd stands for where path is empty. With recursive it
// copies the mounts below too.
//
// The copy is private: no mount propagates to it or from it. (The copy that the kernel
// makes of a shared mount is a peer of it, and systemd makes all mounts of a host
// shared: what is mounted on such a copy appears on the host.)
//
// The thread needs CAP_SYS_ADMIN, and the source must be in its mount namespace, or the
// error is EINVAL. The caller still owns dirfd. See open_tree(2), mount_setattr(2);
// Linux 5.12.
func Clone(dirfd int, path string, recursive bool) (Tree, error) {
	return Copy{Recursive: recursive}.Of(dirfd, path)
}

// A Copy is a way to copy a part of a mount, as Clone does, and to change the copy in
// the same step.
type Copy struct {
	Recursive bool // the mounts below, too
	NoFollow  bool // a symbolic link that is the last component is not followed
	// Slave: the copy of a shared mount is a slave of it: what is mounted on the
	// original later is mounted on the copy too, with the attributes that it has on the
	// original, and is unmounted with it. Nothing propagates from the copy to the
	// original.
	Slave      bool
	Set, Clear uint64 // attributes (see SetAttrs)
}

// Of returns the copy of what is at path (see Clone).
func (c Copy) Of(dirfd int, path string) (Tree, error) {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_EMPTY_PATH | unix.AT_NO_AUTOMOUNT)
	if c.Recursive {
		flags |= unix.AT_RECURSIVE
	}
	if c.NoFollow {
		flags |= unix.AT_SYMLINK_NOFOLLOW
	}
	fd, err := openTree(dirfd, path, flags)
	if err != nil {
		return Tree{}, fmt.Errorf("open_tree %s: %w", path, err)
	}
	t := Tree{fd}
	attr := attrsOf(c.Set, c.Clear)
	attr.Propagation = unix.MS_PRIVATE
	if c.Slave {
		attr.Propagation = unix.MS_SLAVE
	}
	if err := setattr(fd, "", c.Recursive, attr); err != nil {
		return Tree{}, errors.Join(err, t.Close())
	}
	return t, nil
}

// SetAttrs sets and clears attributes (MOUNT_ATTR_*) of the mount, and with recursive
// of all mounts below it, of all or of none. The thread needs CAP_SYS_ADMIN. EBUSY: a
// file is open for writing on a mount that is to be read-only. EPERM: an attribute is
// locked there by a more privileged mount namespace. See mount_setattr(2); Linux 5.12.
func (t Tree) SetAttrs(set, clear uint64, recursive bool) error {
	return setattr(t.fd, "", recursive, attrsOf(set, clear))
}

func attrsOf(set, clear uint64) unix.MountAttr {
	if clear&unix.MOUNT_ATTR__ATIME != 0 {
		clear |= unix.MOUNT_ATTR__ATIME
	}
	return unix.MountAttr{Attr_set: set, Attr_clr: clear}
}

// MapIDs maps the owners of the files of the mount by a user namespace, of which userns
// is a descriptor that the caller owns: a file that belongs to the id N on disk belongs
// to the id N of the namespace. So processes in the namespace see the owners that are
// on disk.
//
// The Tree must never have been attached. The thread needs CAP_SYS_ADMIN in the user
// namespace in which the file system was mounted. EINVAL: the file system cannot do it;
// BTRFS can since Linux 5.15. See mount_setattr(2), MOUNT_ATTR_IDMAP.
func (t Tree) MapIDs(userns int) error {
	return setattr(t.fd, "", false, unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userns)})
}

// Attach mounts the Tree on the target, in the mount namespace of the calling thread,
// which needs CAP_SYS_ADMIN. The Tree stays usable: a change of its attributes changes
// the mount that is now attached. See move_mount(2).
func (t Tree) Attach(target Target) error {
	if err := moveMount(t.fd, target.fd, ""); err != nil {
		return fmt.Errorf("move_mount onto %s: %w", target.path, err)
	}
	return nil
}

// MakePrivate ends the propagation of mounts, in both directions, for the mount at path
// and all mounts below it, in the mount namespace of the calling thread. The thread
// must have unshared CLONE_NEWNS, or that is the host's. It needs CAP_SYS_ADMIN.
func MakePrivate(path string) error {
	return setattr(unix.AT_FDCWD, path, true, unix.MountAttr{Propagation: unix.MS_PRIVATE})
}

// setattr changes the mount that is at path, relative to dirfd, or that dirfd stands
// for where path is empty.
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

// AttachTo mounts the Tree on what is at path, as Attach does. The calling thread
// resolves the path, and does not follow a symbolic link that is the last component. It
// is for directories that the thread has made, or the kernel, and that nobody else can
// change.
func (t Tree) AttachTo(path string) error { return t.attachAt(unix.AT_FDCWD, path) }

// AttachIn is AttachTo for a path relative to the root of another Tree.
func (t Tree) AttachIn(dir Tree, path string) error { return t.attachAt(dir.fd, path) }

func (t Tree) attachAt(dirfd int, path string) error {
	if err := moveMount(t.fd, dirfd, path); err != nil {
		return fmt.Errorf("move_mount onto %s: %w", path, err)
	}
	return nil
}

// Pivot makes an attached Tree the root and working directory of the calling thread,
// and the root of every other task in its mount namespace whose root was the old one.
// It unmounts the old root with all mounts below it.
//
// The thread must be locked, have unshared CLONE_NEWNS, and needs CAP_SYS_ADMIN.
// Nothing may be mounted over the old root directory itself: umount2(2) would take only
// that.
//
// pivot_root(2) with "." as both arguments mounts the old root on the new one. There
// umount2(2) reaches it, and no directory is needed to hold it.
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
