package tree

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// removals is how often Remove starts again, if another process has moved directories
// meanwhile.
const removals = 16

// Remove removes an entry of an open directory with its content, of any depth. A
// missing entry is no error. Symbolic links are not followed, and nothing on another
// file system is removed. Before Remove removes an entry that is not a directory, it
// calls gone with the inode number; gone may be nil.
func Remove(dir int, name string, gone func(inode uint64)) error {
	var err error
	for range removals {
		if err = remove(dir, name, gone); !errors.Is(err, errMoved) {
			break
		}
	}
	return err
}

func remove(dir int, name string, gone func(uint64)) error {
	r := remover{gone: gone}
	defer r.trail.close()
	if err := r.remove(dir, name); err != nil || len(r.trail) == 0 {
		return err
	}
	r.device = r.trail.last().dev
	for {
		l := r.trail.last()
		if err := l.more(); err != nil {
			return err
		}
		if entry, ok := l.next(); ok {
			if err := r.remove(l.fd, entry); err != nil {
				return err
			}
			continue
		}
		emptied, above := l.name, dir
		if err := r.trail.pop(); err != nil {
			return err
		}
		if len(r.trail) > 0 {
			above = r.trail.last().fd
		}
		if err := unix.Unlinkat(above, emptied, unix.AT_REMOVEDIR); err != nil && err != unix.ENOENT {
			return fmt.Errorf("remove directory %q: %w", emptied, err)
		}
		if len(r.trail) == 0 {
			return nil
		}
	}
}

// more reads names from the directory's beginning again, when the names read so far are
// removed.
func (l *level) more() (err error) {
	if len(l.names) > 0 {
		return nil
	}
	if _, err = unix.Seek(l.fd, 0, unix.SEEK_SET); err == nil {
		l.names, err = someNames(l.fd)
	}
	return err
}

type remover struct {
	gone   func(uint64)
	device uint64 // of the top directory, 0 before it is known
	trail  trail
}

// remove removes an entry that is not a directory. It enters a directory.
func (r *remover) remove(dir int, name string) error {
	var st unix.Stat_t
	if r.gone != nil && unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
		r.gone(st.Ino)
	}
	err := unix.Unlinkat(dir, name, 0)
	switch err {
	case nil, unix.ENOENT:
		return nil
	case unix.EISDIR:
	default:
		return fmt.Errorf("remove %q: %w", name, err)
	}
	fd, err := unix.Openat(dir, name, directoryFlags, 0)
	if err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP {
		return errMoved
	}
	if err == nil {
		if err = unix.Fstat(fd, &st); err == nil && r.device != 0 && uint64(st.Dev) != r.device {
			err = unix.EXDEV
		}
		if err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		return fmt.Errorf("remove directory %q: %w", name, err)
	}
	r.trail.push(fd, &st, name)
	return nil
}

// Directories visits a directory and those below it, the innermost first. It calls
// visit with the descriptor of the directory above, the name in that, and the inode
// number. visit may remove the directory.
func Directories(dir int, name string, visit func(above int, name string, inode uint64) error) error {
	var t trail
	defer t.close()
	if err := enter(&t, dir, name); err != nil {
		return err
	}
	for len(t) > 0 {
		l := t.last()
		if entry, ok := l.next(); ok {
			err := enter(&t, l.fd, entry)
			if err != nil && err != unix.ENOTDIR && err != unix.ELOOP && err != unix.ENOENT {
				return fmt.Errorf("open directory %q: %w", entry, err)
			}
			continue
		}
		left, above := *l, dir
		if err := t.pop(); err != nil {
			return err
		}
		if len(t) > 0 {
			above = t.last().fd
		}
		if err := visit(above, left.name, left.ino); err != nil {
			return err
		}
	}
	return nil
}

// enter enters a directory and lists it.
func enter(t *trail, dir int, name string) error {
	fd, err := unix.Openat(dir, name, directoryFlags, 0)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return err
	}
	l := t.push(fd, &st, name)
	l.names, err = allNames(fd)
	return err
}
