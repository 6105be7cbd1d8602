package file

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// ErrNotRegular means that a file is a directory, device, FIFO or socket.
var ErrNotRegular = errors.New("not a regular file")

// OpenRegular opens a regular file for reading. name is resolved in an open directory
// by rules of openat2(2), RESOLVE_*. Anything else is not opened at all: to open a
// device can have effects, to open a FIFO can wait. It looks first and then opens the
// file that it has looked at, by /proc/self/fd, not by its name: there may be a device
// by now. It returns what it has seen. The caller owns the descriptor.
func OpenRegular(dir int, name string, flags int, rules uint64) (int, unix.Stat_t, error) {
	var st unix.Stat_t
	how := unix.OpenHow{Flags: uint64(unix.O_PATH | unix.O_CLOEXEC | flags), Resolve: rules}
	look, err := unix.Openat2(dir, name, &how)
	if err != nil {
		return -1, st, err
	}
	defer unix.Close(look)
	if err := unix.Fstat(look, &st); err != nil {
		return -1, st, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return -1, st, ErrNotRegular
	}
	fd, err := Reopen(look, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	return fd, st, err
}

// Reopen opens the file of a descriptor once more, which may be one of O_PATH, with
// flags of open(2). The caller owns the new descriptor.
func Reopen(fd, flags int) (int, error) {
	name := "/proc/self/fd/" + strconv.Itoa(fd)
	again, err := unix.Open(name, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return again, nil
}
