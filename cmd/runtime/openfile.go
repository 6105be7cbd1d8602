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

// overwrite makes the data the content of a report, and closes it. It goes behind what
// is there if the report is a descriptor that the program was started with.
func overwrite(f *os.File, data []byte) error {
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() && isNamed(f) {
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

// isNamed tells whether a report was opened by its name.
func isNamed(f *os.File) bool {
	_, is := descriptorOf(f.Name())
	return !is
}

// inPlace returns an error unless a report still has the name by which it was opened:
// the build may have put another file there.
func inPlace(f *os.File) error {
	opened, err := f.Stat()
	if err != nil || !opened.Mode().IsRegular() || !isNamed(f) {
		return err
	}
	if named, err := os.Stat(f.Name()); err != nil || !os.SameFile(opened, named) {
		return fmt.Errorf("%s has been replaced during the run", f.Name())
	}
	return nil
}

// A lateReport is a report that is written only if the run comes to it. Until then a
// file that was there stays as it was, and one that was not is removed again.
type lateReport struct {
	*os.File
	made bool // by this process
}

// openLate opens a report; nil for no name.
func openLate(name string) (*lateReport, error) {
	switch name {
	case "":
		return nil, nil
	case "-":
		return &lateReport{File: os.Stderr}, nil
	}
	const flags = os.O_WRONLY | os.O_CREATE | os.O_APPEND
	f, err := openFile(name, flags|os.O_EXCL, 0o666)
	if err == nil {
		return &lateReport{f, isNamed(f)}, nil
	}
	if errors.Is(err, os.ErrExist) {
		f, err = openFile(name, flags, 0o666)
	}
	if err != nil {
		return nil, err
	}
	return &lateReport{File: f}, nil
}

// write writes the report.
func (r *lateReport) write(data []byte) error {
	if err := inPlace(r.File); err != nil {
		return err
	}
	r.made = false
	return overwrite(r.File, data)
}

// forget ends a report that was not written. After write it does nothing.
func (r *lateReport) forget() {
	if r == nil || r.File == os.Stderr {
		return
	}
	if r.made && inPlace(r.File) == nil {
		_ = os.Remove(r.Name())
	}
	_ = r.Close()
}
