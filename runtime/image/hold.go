package image

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"mayfly/runtime/internal/file"
	"mayfly/runtime/internal/lock"
)

// A hold says that its process works on an entry of the run directory: a mark on a file NAME.held
// beside it. The mark is not on the entry itself, which programs inside can open: they could
// lock it, and hand the open file to somebody outside of the container. Names are random, so
// that the file is of one entry for good.
type hold struct {
	dir  int // the run directory, the caller's
	name string
	fd   int
}

const heldSuffix = ".held"

// holdEntry makes a hold, before the entry is there. The file is marked before it has a name.
// The holder must release it.
func holdEntry(dir int, name string) (*hold, error) {
	fd, err := file.Nameless(dir, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err = lock.Mark(fd); err == nil {
		err = file.Name(fd, dir, name+heldSuffix)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("hold %s: %w", name, err)
	}
	return &hold{dir, name, fd}, nil
}

// makeHeld makes a directory for root's eyes in the run directory, held and open. The caller
// closes and releases both.
func makeHeld(dir int, name string) (*hold, int, error) {
	held, err := holdEntry(dir, name)
	if err != nil {
		return nil, -1, err
	}
	fd := -1
	if err = unix.Mkdirat(dir, name, 0o700); err == nil {
		fd, err = openHere(dir, name)
	}
	if err != nil {
		return nil, -1, errors.Join(err, held.release())
	}
	return held, fd, nil
}

// release gives the hold up, after the entry is gone.
func (h *hold) release() error {
	err := unix.Unlinkat(h.dir, h.name+heldSuffix, 0)
	unix.Close(h.fd)
	if err == unix.ENOENT {
		return nil
	}
	return err
}

// takeHold takes the hold of an entry that a dead process has left; nil where a process has it.
// Where there is no such file the entry was made by an earlier version of the program, which
// locked the entry itself.
func takeHold(dir int, name string) (*hold, error) {
	fd, err := unix.Openat(dir, name+heldSuffix, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	taken := false
	switch {
	case err == unix.ENOENT:
		if fd, err = openHere(dir, name); err == nil {
			taken, err = lock.TryTurn(fd)
		}
	case err == nil:
		taken, err = lock.Mark(fd)
	}
	if err != nil || !taken {
		if fd >= 0 {
			unix.Close(fd)
		}
		return nil, err
	}
	return &hold{dir, name, fd}, nil
}

// isHeld tells whether a process has the hold of an entry, or may. It takes nothing.
func isHeld(dir int, name string) bool {
	fd, err := unix.Openat(dir, name+heldSuffix, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err != unix.ENOENT
	}
	defer unix.Close(fd)
	marked, err := lock.Marked(fd)
	return marked || err != nil
}
