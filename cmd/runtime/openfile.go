package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/runtime/inherit"
)

// openFile opens a file that a flag names. A name of a descriptor, such as a shell's
// process substitution gives, means one that the program was started with. All others
// are the program's own, and perhaps root's: no magic link of procfs leads to one (since
// Linux 5.6).
func openFile(name string, flags int, mode os.FileMode) (*os.File, error) {
	number, is := descriptorOf(name)
	if !is {
		how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: unix.RESOLVE_NO_MAGICLINKS}
		if flags&os.O_CREATE != 0 {
			how.Mode = uint64(mode.Perm())
		}
		fd, err := unix.Openat2(unix.AT_FDCWD, name, &how)
		for err == unix.EINTR {
			fd, err = unix.Openat2(unix.AT_FDCWD, name, &how)
		}
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
		return os.NewFile(uintptr(fd), name), nil
	}
	if !inherit.Given(number) {
		return nil, fmt.Errorf("open %s: the program was not started with descriptor %d", name, number)
	}
	fd, err := unix.FcntlInt(uintptr(number), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// descriptorOf reads the number of a descriptor from a name of it.
func descriptorOf(name string) (number int, is bool) {
	switch name {
	case "/dev/stdin":
		return 0, true
	case "/dev/stdout":
		return 1, true
	case "/dev/stderr":
		return 2, true
	}
	for _, dir := range []string{"/dev/fd/", "/proc/self/fd/"} {
		if text, below := strings.CutPrefix(name, dir); below {
			if n, err := strconv.ParseUint(text, 10, 31); err == nil {
				return int(n), true
			}
		}
	}
	return 0, false
}

// readSmall reads a file of at most so many bytes, with the caller's rights.
func readSmall(name string, most int64) (string, error) {
	f, err := openFile(name, os.O_RDONLY, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s is longer than %s", name, bytesOf(most))
	}
	return string(data), err
}

// overwrite makes the data the content of an open report, and closes it.
func overwrite(f *os.File, data []byte) error {
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
		if err := f.Truncate(0); err != nil {
			return err
		}
	}
	_, err := f.Write(data)
	if f != os.Stderr {
		err = errors.Join(err, f.Close())
	}
	return err
}

// forget removes a report that was made for a run that did not come to it. One that was
// there before stays as it is.
func forget(f *os.File) {
	if f == nil || f == os.Stderr {
		return
	}
	opened, err := f.Stat()
	if err == nil && opened.Mode().IsRegular() && opened.Size() == 0 {
		if named, err := os.Lstat(f.Name()); err == nil && os.SameFile(opened, named) {
			_ = os.Remove(f.Name())
		}
	}
	_ = f.Close()
}

// isAt tells whether a report that is a file still has the name by which it was opened.
func isAt(f *os.File, name string) bool {
	opened, err := f.Stat()
	if err != nil || !opened.Mode().IsRegular() || f == os.Stderr {
		return err == nil
	}
	named, err := os.Stat(name)
	return err == nil && os.SameFile(opened, named)
}
