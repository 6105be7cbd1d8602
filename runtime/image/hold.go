package image

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"mayfly/runtime/internal/file"
	"mayfly/runtime/internal/lock"
)

// A hold says that its process works on an entry NAME of the run directory. It is a
// mark on the file NAME.held beside the entry. The mark is not on the entry itself:
// programs inside can open that, lock it, and pass the open file to a process outside
// of the container. Names are random, so the file never belongs to another entry.
type hold struct {
	dir  int // the run directory, the caller's
	name string
	fd   int
}

const heldSuffix = ".held"

// holdEntry makes a hold, before the entry exists. The file is marked before it gets a
// name. The holder must release the hold.
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

// makeHeld makes a directory in the run directory that only root can read, opens it,
// and holds it. The caller must close the directory and release the hold.
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

// release releases the hold, after the entry has been removed.
func (h *hold) release() error {
	err := unix.Unlinkat(h.dir, h.name+heldSuffix, 0)
	unix.Close(h.fd)
	if err == unix.ENOENT {
		return nil
	}
	return err
}

// takeHold takes the hold of an entry that a dead process has left. It returns nil if a
// process has the hold. An entry without a file NAME.held was made by an earlier
// version of the program, which locked the entry itself.
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

// isHeld returns whether a process has the hold of an entry. If that is unknown, it
// returns true. It takes no lock.
func isHeld(dir int, name string) bool {
	fd, err := unix.Openat(dir, name+heldSuffix, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err != unix.ENOENT
	}
	defer unix.Close(fd)
	marked, err := lock.Marked(fd)
	return marked || err != nil
}
