// Package btrfs makes, snapshots, deletes and describes BTRFS subvolumes by ioctls of
// the kernel: no cgo, no libbtrfsutil, no btrfs(8). It also rewrites a stream of
// btrfs-send(8).
//
// Every function takes descriptors of directories, which its caller owns, and a single
// file name, never a path: so a caller decides once which directory is meant. See
// linux/btrfs.h and btrfs-ioctl(2).
//
// The store of images and the supervisor's thread call it. The kernel checks the
// calling thread's ids for files and its capabilities, so the thread must be locked
// where it acts on files as another user. A function needs no capability, unless it
// says so. The error of an ioctl that the file system does not know is ErrNotSubvolume.
//
// The package imports the standard library and golang.org/x/sys/unix, and nothing of
// the project.
package btrfs

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// FirstFreeObjectID is the inode number of every subvolume's root directory.
const FirstFreeObjectID = 256

// ErrNotSubvolume means that an open file is not on BTRFS, or not the root of a
// subvolume.
var ErrNotSubvolume = errors.New("not a BTRFS subvolume")

// Numbers of ioctls: the direction, the size of the argument, BTRFS's letter 0x94, and
// the number, as the macros of linux/btrfs.h make them.
const (
	iocSnapDestroy   = 1<<30 | 4096<<16 | 0x94<<8 | 15
	iocSubvolCreate2 = 1<<30 | 4096<<16 | 0x94<<8 | 24
	iocSnapCreate2   = 1<<30 | 4096<<16 | 0x94<<8 | 23
	iocGetFlags      = 2<<30 | 8<<16 | 0x94<<8 | 25
	iocSetFlags      = 1<<30 | 8<<16 | 0x94<<8 | 26
	iocSync          = 0x94<<8 | 8
	iocSpaceInfo     = 3<<30 | 16<<16 | 0x94<<8 | 20
	iocSubvolInfo    = 2<<30 | 504<<16 | 0x94<<8 | 60

	flagReadOnly = 1 << 1 // BTRFS_SUBVOL_RDONLY
	maxName      = 255    // BTRFS_NAME_LEN
)

// volArgs is struct btrfs_ioctl_vol_args.
type volArgs struct {
	fd   int64
	name [4088]byte
}

// volArgsV2 is struct btrfs_ioctl_vol_args_v2.
type volArgsV2 struct {
	fd      int64
	transid uint64
	flags   uint64
	_       [4]uint64
	name    [4040]byte
}

// Is tells whether the open file is on BTRFS.
func Is(fd int) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return false, fmt.Errorf("fstatfs: %w", err)
	}
	return uint32(st.Type) == unix.BTRFS_SUPER_MAGIC, nil
}

// IsSubvolume tells whether the open file is the root directory of a subvolume.
func IsSubvolume(fd int) (bool, error) {
	on, err := Is(fd)
	if err != nil || !on {
		return false, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false, fmt.Errorf("fstat: %w", err)
	}
	return st.Ino == FirstFreeObjectID && st.Mode&unix.S_IFMT == unix.S_IFDIR, nil
}

// Create makes an empty subvolume called name in the directory dir. The thread needs to
// be allowed to write to the directory. EEXIST: something has the name.
func Create(dir int, name string) error {
	var args volArgsV2
	if err := setName(args.name[:], name); err != nil {
		return err
	}
	return ioctl("create subvolume", name, dir, iocSubvolCreate2, unsafe.Pointer(&args))
}

// Snapshot makes a snapshot of the subvolume source, called name, in the directory dir
// of the same file system. It takes as long as a commit of a transaction. The
// subvolumes in source are empty directories in the snapshot.
//
// The thread needs to be allowed to write to the directory, and to own source or to
// have CAP_FOWNER effective. EXDEV: source is on another file system.
func Snapshot(dir int, name string, source int, readOnly bool) error {
	args := volArgsV2{fd: int64(source)}
	if readOnly {
		args.flags = flagReadOnly
	}
	if err := setName(args.name[:], name); err != nil {
		return err
	}
	return ioctl("create snapshot", name, dir, iocSnapCreate2, unsafe.Pointer(&args))
}

// Delete deletes the subvolume called name from the directory dir. The kernel frees its
// blocks later. The thread needs CAP_SYS_ADMIN effective in the initial user namespace,
// or the file system must be mounted with user_subvol_rm_allowed. ENOTEMPTY: there are
// subvolumes in it.
func Delete(dir int, name string) error {
	var args volArgs
	if err := setName(args.name[:], name); err != nil {
		return err
	}
	return ioctl("delete subvolume", name, dir, iocSnapDestroy, unsafe.Pointer(&args))
}

// ReadOnly tells whether the open subvolume is read-only.
func ReadOnly(fd int) (bool, error) {
	var flags uint64
	err := ioctl("read subvolume flags", "", fd, iocGetFlags, unsafe.Pointer(&flags))
	return flags&flagReadOnly != 0, err
}

// SetReadOnly makes the open subvolume read-only or writable. It takes as long as a
// commit of a transaction. The thread needs to own the subvolume or to have CAP_FOWNER
// effective.
func SetReadOnly(fd int, readOnly bool) error {
	var flags uint64
	if err := ioctl("read subvolume flags", "", fd, iocGetFlags, unsafe.Pointer(&flags)); err != nil {
		return err
	}
	flags &^= flagReadOnly
	if readOnly {
		flags |= flagReadOnly
	}
	return ioctl("set subvolume flags", "", fd, iocSetFlags, unsafe.Pointer(&flags))
}

// Sync commits the running transaction of the file system of the open file, and waits
// for that.
func Sync(fd int) error { return ioctl("sync", "", fd, iocSync, nil) }

// An Info describes a subvolume.
type Info struct {
	ID         uint64
	Name       string
	ParentID   uint64 // of the subvolume in which it is
	Generation uint64
	ReadOnly   bool
	UUID       [16]byte
	ParentUUID [16]byte // of the subvolume of which it is a snapshot; zero: it is none
	// ReceivedUUID is that of the subvolume which btrfs-send(8) sent; zero: it was not
	// received.
	ReceivedUUID [16]byte
	Created      time.Time
}

// subvolInfo is struct btrfs_ioctl_get_subvol_info_args.
type subvolInfo struct {
	treeID                         uint64
	name                           [256]byte
	parentID, dirID                uint64
	generation, flags              uint64
	uuid, parentUUID, receivedUUID [16]byte
	ctrans, otrans, strans, rtrans uint64
	ctime, otime, stime, rtime     struct {
		sec  uint64
		nsec uint32
		_    uint32
	}
	_ [8]uint64
}

// Describe describes the subvolume in which the open file is
// (BTRFS_IOC_GET_SUBVOL_INFO, since Linux 4.18).
func Describe(fd int) (Info, error) {
	var raw subvolInfo
	if err := ioctl("describe subvolume", "", fd, iocSubvolInfo, unsafe.Pointer(&raw)); err != nil {
		return Info{}, err
	}
	name, _, _ := bytes.Cut(raw.name[:], []byte{0})
	return Info{
		ID:         raw.treeID,
		Name:       string(name),
		ParentID:   raw.parentID,
		Generation: raw.generation,
		ReadOnly:   raw.flags&1 != 0, // BTRFS_ROOT_SUBVOL_RDONLY
		UUID:       raw.uuid,
		ParentUUID: raw.parentUUID,

		ReceivedUUID: raw.receivedUUID,
		Created:      time.Unix(int64(raw.otime.sec), int64(raw.otime.nsec)),
	}, nil
}

// A Space is what a file system has allocated for one kind of content.
type Space struct {
	Kind  string `json:"kind"`  // data, metadata, system or reserve
	Total uint64 `json:"total"` // in bytes
	Used  uint64 `json:"used"`  // in bytes, of these
}

// kinds are the types of block groups (BTRFS_BLOCK_GROUP_*), in the order in which
// Spaces looks for them. Nothing writes to it.
var kinds = []struct {
	flag uint64
	name string
}{{1 << 49, "reserve"}, {1 << 0, "data"}, {1 << 1, "system"}, {1 << 2, "metadata"}}

// Spaces tells what the file system of the open file has allocated
// (BTRFS_IOC_SPACE_INFO).
func Spaces(fd int) ([]Space, error) {
	const most = 32 // a file system has a handful
	var args struct {
		slots, total uint64
		spaces       [most]struct{ flags, total, used uint64 }
	}
	args.slots = most
	if err := ioctl("read space of", "the file system", fd, iocSpaceInfo, unsafe.Pointer(&args)); err != nil {
		return nil, err
	}
	var list []Space
	for _, s := range args.spaces[:min(args.total, most)] {
		for _, kind := range kinds {
			if s.flags&kind.flag != 0 {
				list = append(list, Space{kind.name, s.total, s.used})
				break
			}
		}
	}
	return list, nil
}

// setName puts a file name into the argument of an ioctl. EINVAL: it is none.
func setName(field []byte, name string) error {
	if name == "" || name == "." || name == ".." || len(name) > maxName || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("subvolume name %q: %w", name, unix.EINVAL)
	}
	copy(field, name)
	return nil
}

// ioctl makes an ioctl. An error says what was tried, on what name.
func ioctl(what, name string, fd int, request uintptr, arg unsafe.Pointer) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
	if errno == 0 {
		return nil
	}
	if errno == unix.ENOTTY {
		return fmt.Errorf("%s %s: %w", what, name, ErrNotSubvolume)
	}
	return fmt.Errorf("%s %s: %w", what, name, errno)
}
