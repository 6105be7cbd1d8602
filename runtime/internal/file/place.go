package file

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// Kind returns the type of an open file, S_IFREG and the like.
func Kind(fd int) (uint32, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return st.Mode & unix.S_IFMT, err
}

// Place is the path of an open file as the kernel knows it.
func PathOf(fd int) (string, error) {
	buffer := make([]byte, unix.PathMax)
	n, err := unix.Readlink("/proc/self/fd/"+strconv.Itoa(fd), buffer)
	if err != nil {
		return "", fmt.Errorf("path of descriptor: %w", err)
	}
	if n == len(buffer) || n == 0 {
		return "", fmt.Errorf("path of descriptor: %w", unix.ENAMETOOLONG)
	}
	if buffer[0] != '/' { // a pipe, or a socket without a name
		return "", fmt.Errorf("is %q, which has no path", buffer[:n])
	}
	return string(buffer[:n]), nil
}

// Identify returns which file a name leads to, by its device and inode. It follows
// symbolic links, with the rights that the thread has.
func Identify(name string) (device, inode uint64, err error) {
	var st unix.Stat_t
	err = unix.Stat(name, &st)
	return st.Dev, st.Ino, err
}

// IsThere tells whether the thread may find something of a name.
func IsThere(name string) bool { return unix.Access(name, unix.F_OK) == nil }

// CheckDeviceNode tells by the mode of stat(2) what is no device node.
func CheckDeviceNode(mode uint32) error {
	switch mode & unix.S_IFMT {
	case unix.S_IFCHR, unix.S_IFBLK:
		return nil
	case unix.S_IFDIR:
		return errors.New("is a directory: the policy has to name the device nodes in it")
	case unix.S_IFLNK:
		return errors.New("is a symbolic link: the policy has to name the device node that it leads to")
	}
	return errors.New("is no device node")
}
