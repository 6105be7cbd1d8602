package mount

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of this package are made raw, without telling the Go scheduler. A
// launch makes some two hundred short ones, and around each the scheduler would take
// the processor from the thread and look for one again, which costs more than the
// calls. They wait for locks of the kernel, and for a file system that a path leads to;
// the scheduler lacks the processor as long.

// result is what a raw system call returned, as a number or an error.
func result(r uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return -1, errno
	}
	return int(r), nil
}

// failed is the error of a raw system call.
func failed(errno unix.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

// path0 returns a copy of a text with a zero byte at its end. EINVAL: it has one
// already.
func path0(s string) (*byte, error) { return unix.BytePtrFromString(s) }

func fsopen(fstype string) (int, error) {
	name, err := path0(fstype)
	if err != nil {
		return -1, err
	}
	r, _, errno := unix.RawSyscall(unix.SYS_FSOPEN, uintptr(unsafe.Pointer(name)), unix.FSOPEN_CLOEXEC, 0)
	return result(r, errno)
}

// fsconfig sets a parameter of a file-system context; a flag where value is nil. Where
// key is nil it gives a command.
func fsconfig(fs int, command uint, key, value *byte) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_FSCONFIG, uintptr(fs), uintptr(command),
		uintptr(unsafe.Pointer(key)), uintptr(unsafe.Pointer(value)), 0, 0)
	return failed(errno)
}

// fsconfigFD sets a parameter of a file-system context to an open file.
func fsconfigFD(fs int, key *byte, fd int) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_FSCONFIG, uintptr(fs), unix.FSCONFIG_SET_FD, uintptr(unsafe.Pointer(key)), 0, uintptr(fd), 0)
	return failed(errno)
}

func fsmount(fs int, attrs uint64) (int, error) {
	r, _, errno := unix.RawSyscall(unix.SYS_FSMOUNT, uintptr(fs), unix.FSMOUNT_CLOEXEC, uintptr(attrs))
	return result(r, errno)
}

func openTree(dirfd int, path string, flags uint) (int, error) {
	name, err := path0(path)
	if err != nil {
		return -1, err
	}
	r, _, errno := unix.RawSyscall(unix.SYS_OPEN_TREE, uintptr(dirfd), uintptr(unsafe.Pointer(name)), uintptr(flags))
	return result(r, errno)
}

// moveMount attaches the mount from at path, relative to the directory to, or on what
// to stands for where path is empty.
func moveMount(from, to int, path string) error {
	name, err := path0(path)
	if err != nil {
		return err
	}
	flags := uintptr(unix.MOVE_MOUNT_F_EMPTY_PATH)
	if path == "" {
		flags |= unix.MOVE_MOUNT_T_EMPTY_PATH
	}
	var empty byte
	_, _, errno := unix.RawSyscall6(unix.SYS_MOVE_MOUNT, uintptr(from), uintptr(unsafe.Pointer(&empty)),
		uintptr(to), uintptr(unsafe.Pointer(name)), flags, 0)
	return failed(errno)
}

func mountSetattr(dirfd int, path string, flags uint, attr *unix.MountAttr) error {
	name, err := path0(path)
	if err != nil {
		return err
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_MOUNT_SETATTR, uintptr(dirfd), uintptr(unsafe.Pointer(name)),
		uintptr(flags), uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr), 0)
	return failed(errno)
}

func openat2(dirfd int, path string, how *unix.OpenHow) (int, error) {
	name, err := path0(path)
	if err != nil {
		return -1, err
	}
	r, _, errno := unix.RawSyscall6(unix.SYS_OPENAT2, uintptr(dirfd), uintptr(unsafe.Pointer(name)),
		uintptr(unsafe.Pointer(how)), unsafe.Sizeof(*how), 0, 0)
	return result(r, errno)
}

func openat(dirfd int, path string, flags int, mode uint32) (int, error) {
	name, err := path0(path)
	if err != nil {
		return -1, err
	}
	r, _, errno := unix.RawSyscall6(unix.SYS_OPENAT, uintptr(dirfd), uintptr(unsafe.Pointer(name)),
		uintptr(flags|unix.O_CLOEXEC), uintptr(mode), 0, 0)
	return result(r, errno)
}

func mkdirat(dirfd int, path string, mode uint32) error {
	name, err := path0(path)
	if err != nil {
		return err
	}
	_, _, errno := unix.RawSyscall(unix.SYS_MKDIRAT, uintptr(dirfd), uintptr(unsafe.Pointer(name)), uintptr(mode))
	return failed(errno)
}

// touch makes an empty regular file, which needs no capability.
func touch(dirfd int, path string) error {
	name, err := path0(path)
	if err != nil {
		return err
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_MKNODAT, uintptr(dirfd), uintptr(unsafe.Pointer(name)), unix.S_IFREG|0o644, 0, 0, 0)
	return failed(errno)
}

func symlinkat(target string, dirfd int, path string) error {
	old, err := path0(target)
	if err != nil {
		return err
	}
	name, err := path0(path)
	if err != nil {
		return err
	}
	_, _, errno := unix.RawSyscall(unix.SYS_SYMLINKAT, uintptr(unsafe.Pointer(old)), uintptr(dirfd), uintptr(unsafe.Pointer(name)))
	return failed(errno)
}

// statx looks at path, relative to the directory dirfd, or at what dirfd stands for
// where path is empty. It follows no symbolic link that is the last component.
func statx(dirfd int, path string, mask int, st *unix.Statx_t) error {
	name, err := path0(path)
	if err != nil {
		return err
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_STATX, uintptr(dirfd), uintptr(unsafe.Pointer(name)),
		unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW, uintptr(mask), uintptr(unsafe.Pointer(st)), 0)
	return failed(errno)
}

func fstatfs(fd int, st *unix.Statfs_t) error {
	_, _, errno := unix.RawSyscall(unix.SYS_FSTATFS, uintptr(fd), uintptr(unsafe.Pointer(st)), 0)
	return failed(errno)
}

func write(fd int, data []byte) (int, error) {
	r, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)))
	return result(r, errno)
}

// closeFD closes a descriptor. It is closed even where close(2) returns an error.
func closeFD(fd int) error {
	_, _, errno := unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
	return failed(errno)
}
