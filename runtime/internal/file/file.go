// Package file reads small files of the host whole.
//
// It makes the system calls itself: package os registers each file that it opens with
// the Go runtime's poller, which takes six calls a file and the poller's own set-up.
package file

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// ErrTooLarge means that a file is larger than it may be.
var ErrTooLarge = errors.New("file is too large")

// Read reads a file of at most limit bytes. Its errors are those of os.ReadFile, and
// ErrTooLarge.
func Read(name string, limit int) ([]byte, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	data, err := ReadFD(fd, limit)
	if err != nil {
		return nil, &os.PathError{Op: "read", Path: name, Err: err}
	}
	return data, nil
}

// piece is as much as procfs, whose files tell no size, gives at a time.
const piece = 4 << 10

// ReadFD reads an open file from where it is to its end. The caller keeps the
// descriptor.
func ReadFD(fd, limit int) ([]byte, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	data := make([]byte, 0, min(int(st.Size), limit)+1)
	if st.Size == 0 {
		data = make([]byte, 0, piece)
	}
	for {
		n, err := unix.Read(fd, data[len(data):cap(data)])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, err
		case n == 0:
			return data, nil
		}
		data = data[:len(data)+n]
		if len(data) > limit {
			return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
		}
		if len(data) == cap(data) { // it has grown, or tells no size
			data = slices.Grow(data, piece)
		}
	}
}

// WriteFD writes all of the data to an open regular file. A part of it is an error:
// there the file system is full, or RLIMIT_FSIZE is met, of which the next write would
// be told by a signal.
func WriteFD(fd int, data []byte) error {
	n, err := unix.Write(fd, data)
	for err == unix.EINTR {
		n, err = unix.Write(fd, data)
	}
	if err == nil && n < len(data) {
		err = fmt.Errorf("only %d of %d bytes could be written: is the disk full, or `ulimit -f` too low?", n, len(data))
	}
	return err
}

// OwnedBy tells whether an open file or directory belongs to a user, and can be written
// to by nobody else: in the product the user is root.
func OwnedBy(fd int, owner uint32) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Uid != owner || st.Mode&0o022 != 0 {
		return fmt.Errorf("owned by uid %d with mode %04o, want root's and writable by root only", st.Uid, st.Mode&0o7777)
	}
	return nil
}
