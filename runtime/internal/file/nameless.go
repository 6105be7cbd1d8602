package file

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// Nameless makes a regular file in an open directory that has no name yet, open for
// reading and writing. The caller owns the descriptor; without a name the file goes
// with it. See O_TMPFILE in open(2).
func Nameless(dir int, mode uint32) (int, error) {
	fd, err := unix.Openat(dir, ".", unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, mode)
	if err != nil {
		return -1, fmt.Errorf("make a file without a name: %w", err)
	}
	return fd, nil
}

// Name gives such a file a name in an open directory. EEXIST says that the name is
// taken. It goes by procfs, which takes no capability.
func Name(fd, dir int, name string) error {
	return unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(fd), dir, name, unix.AT_SYMLINK_FOLLOW)
}
