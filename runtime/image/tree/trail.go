package tree

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// window is the number of directories of a trail that are open: the innermost ones. A
// tree can be deeper than the number of descriptors that a process may have.
const window = 64

// errMoved means that another process has moved directories of the tree meanwhile.
var errMoved = errors.New("it was changed meanwhile")

// A trail is the path from the top of a tree to one of its directories, without
// symbolic links.
type trail []level

// A level is a directory of a trail.
type level struct {
	fd       int // -1: outside of the window
	dev, ino uint64
	name     string   // in the directory above
	names    []string // entries that are still to be visited
	path     int      // for the user of the trail: the length of its path
}

const directoryFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// push enters a directory. The trail owns its descriptor from then on.
func (t *trail) push(fd int, st *unix.Stat_t, name string) *level {
	*t = append(*t, level{fd: fd, dev: uint64(st.Dev), ino: st.Ino, name: name})
	if leaves := len(*t) - 1 - window; leaves >= 0 {
		unix.Close((*t)[leaves].fd)
		(*t)[leaves].fd = -1
	}
	return t.last()
}

func (t *trail) last() *level { return &(*t)[len(*t)-1] }

// pop returns to the directory above. If that is not open any more, pop opens "..",
// which must be the same directory: if another process has moved a directory meanwhile,
// ".." leads out of the tree.
func (t *trail) pop() error {
	left := *t.last()
	defer unix.Close(left.fd)
	*t = (*t)[:len(*t)-1]
	if len(*t) == 0 || t.last().fd >= 0 {
		return nil
	}
	above := t.last()
	fd, err := unix.Openat(left.fd, "..", directoryFlags, 0)
	if err != nil {
		return fmt.Errorf("open the directory above: %w", err)
	}
	above.fd = fd
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if uint64(st.Dev) != above.dev || st.Ino != above.ino {
		return errMoved
	}
	return nil
}

// close closes all descriptors.
func (t *trail) close() {
	for _, l := range *t {
		if l.fd >= 0 {
			unix.Close(l.fd)
		}
	}
	*t = nil
}

// next takes the next name.
func (l *level) next() (name string, ok bool) {
	if len(l.names) == 0 {
		return "", false
	}
	name, l.names = l.names[0], l.names[1:]
	return name, true
}

// someNames reads the next names in a directory, as many as the kernel gives at a time;
// none at its end.
func someNames(fd int) ([]string, error) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := unix.Getdents(fd, buffer)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return nil, err
		}
		if _, _, names := unix.ParseDirent(buffer[:n], -1, nil); len(names) > 0 {
			return names, nil
		}
	}
}

// allNames reads the names in a directory.
func allNames(fd int) ([]string, error) {
	var all []string
	for {
		names, err := someNames(fd)
		if err != nil || len(names) == 0 {
			return all, err
		}
		all = append(all, names...)
	}
}
