// Package state records the running containers, by owner. Each container has a file in
// a directory that only root can enter (here.Here.State), and beside it a symbolic link
// whose target is the record's text. The supervisor holds a mark on the file (package
// lock) while it lives. A record without a mark is a leftover of a dead supervisor. (A
// process id would prove nothing: another process may have it by now.)
//
// A file is marked before it gets its name. Readers take no lock. A process that adds
// or removes a record takes the turn (a lock) of the owner's directory. Only processes
// of the owner and of root can take it.
package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/here"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/internal/lock"
)

var (
	// ErrNameTaken means that a container of that name and owner is running.
	ErrNameTaken = errors.New("container name is in use")
	// ErrUnknown means that no container of that name is running.
	ErrUnknown = errors.New("no such container")
	// ErrTooMany means that the owner runs as many containers as the policy allows.
	ErrTooMany = errors.New("too many containers")
)

// tooMany is an ErrTooMany that says how many.
type tooMany struct{ running, limit int }

func (e tooMany) Error() string {
	return fmt.Sprintf("you already run %d of %d containers (`runtime ps`)", e.running, e.limit)
}

// Is says which sentinel error this is.
func (tooMany) Is(target error) bool { return target == ErrTooMany }

// An Entry is the record of this process's container. Its holder must Remove it.
type Entry struct {
	Record
	top string // of the owners' directories
	dir int
	fd  int
}

// Register records a container. If limit is not 0, the owner may run so many
// containers, this one included. The thread must act on files as root. The entry stays
// until Remove. If the process ends before that, a later launch of the owner or Collect
// removes it.
func Register(h here.Here, r Record, limit int) (*Entry, error) {
	return register(h.State(), h.Root().UID, r, limit)
}

func register(top string, owner uint32, r Record, limit int) (*Entry, error) {
	e := &Entry{Record: r, top: top, dir: -1, fd: -1}
	dir, err := openInTurn(top, owner, r.UID, e.prepare)
	if err == nil {
		e.dir = dir
		err = e.register(limit)
	}
	if err != nil {
		e.close()
		if errors.Is(err, ErrTooMany) {
			return nil, err
		}
		return nil, fmt.Errorf("record container %s: %w", r.Name, file.ReadOnly(err, top))
	}
	return e, nil
}

// register counts the records and names this one in one turn, so that each of two
// launches at the same time sees the other. It ends the turn.
func (e *Entry) register(limit int) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, removeEmpty(e.top, e.UID, e.dir))
		}
		lock.Done(e.dir)
	}()
	if limit > 0 {
		living, _, err := sweep(e.dir)
		if err != nil {
			return err
		}
		if living >= limit {
			return tooMany{living, limit}
		}
	}
	return e.publish()
}

// prepare makes a file without a name, and marks it.
func (e *Entry) prepare(dir int) (err error) {
	if e.fd >= 0 { // a file in a directory that was removed meanwhile
		unix.Close(e.fd)
	}
	if e.fd, err = file.Nameless(dir, 0o600); err != nil {
		return err
	}
	_, err = lock.Mark(e.fd)
	return err
}

// publish gives the record its name. It replaces a leftover of that name.
func (e *Entry) publish() error {
	dead, err := removeDead(e.dir, e.Name)
	if err == nil && !dead {
		err = ErrNameTaken
	}
	if err == nil {
		err = writeText(e.dir, e.Record)
	}
	if err == nil {
		if err = file.Name(e.fd, e.dir, e.Name); err != nil {
			err = errors.Join(err, unlink(e.dir, e.Name))
		}
	}
	return err
}

// Sweep removes the owner's dead records, and returns whether there were any. If
// another process has the turn, it leaves that to a later launch. The thread must act
// on files as root.
func (e *Entry) Sweep() (bool, error) {
	_, dead, err := sweepInTurn(e.dir)
	return dead > 0, err
}

func sweepInTurn(dir int) (living, dead int, err error) {
	taken, err := lock.TryTurn(dir)
	if err != nil || !taken {
		return 0, 0, err
	}
	defer lock.Done(dir)
	return sweep(dir)
}

// removeWithin is how long Remove waits for the turn. If it does not get the turn, the
// record stays as a leftover, which the next launch removes.
const removeWithin = time.Second

// Remove removes the record, in the turn, since the record consists of several files.
// The thread must act on files as root.
func (e *Entry) Remove() error {
	defer e.close()
	err := lock.Within(removeWithin, func() (bool, error) { return lock.TryTurn(e.dir) })
	if err == lock.ErrTime {
		return nil
	}
	if err == nil {
		if err = unlink(e.dir, e.Name); err == nil {
			err = removeEmpty(e.top, e.UID, e.dir)
		}
		lock.Done(e.dir)
	}
	if err != nil {
		return fmt.Errorf("remove the record of container %s: %w", e.Name, err)
	}
	return nil
}

func (e *Entry) close() {
	if e.fd >= 0 {
		unix.Close(e.fd)
	}
	if e.dir >= 0 {
		unix.Close(e.dir)
	}
}

// InTurn calls f in the turn of an owner, so that no other process adds a record or
// session of that owner meanwhile. The thread must act on files as root.
func InTurn(h here.Here, owner uint32, f func() error) error {
	return inTurn(h.State(), h.Root().UID, owner, f)
}

func inTurn(top string, root, owner uint32, f func() error) error {
	dir, err := openInTurn(top, root, owner, func(int) error { return nil })
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	defer lock.Done(dir)
	return errors.Join(f(), removeEmpty(top, owner, dir))
}

// openOwner opens the directory of an owner. It makes the directory if it is missing.
func openOwner(top string, root, uid uint32) (int, error) {
	fd, err := openDirectory(unix.AT_FDCWD, top, root, 0o755)
	if above := filepath.Dir(top); errors.Is(err, unix.ENOENT) && !isDirectory(above) {
		return -1, fmt.Errorf("make state directory %s: there is no directory %s: %w", top, above, err)
	}
	if err != nil {
		return -1, file.ReadOnly(err, top)
	}
	defer unix.Close(fd)
	dir, err := openDirectory(fd, strconv.FormatUint(uint64(uid), 10), root, 0o700)
	return dir, file.ReadOnly(err, top)
}

// openDirectory opens a directory, and makes it if it is missing. It must belong to
// root, and only root may write to it. A symbolic link, or another user's directory in
// its place, is refused.
func openDirectory(at int, name string, root uint32, mode uint32) (int, error) {
	flags := unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(at, name, flags, 0)
	if err == unix.ENOENT {
		if err := unix.Mkdirat(at, name, mode); err != nil && err != unix.EEXIST {
			return -1, fmt.Errorf("make state directory %s: %w", name, err)
		}
		fd, err = unix.Openat(at, name, flags, 0)
	}
	if err != nil {
		return -1, fmt.Errorf("open state directory %s: %w", name, err)
	}
	if err := file.OwnedBy(fd, root); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("state directory %s: %w", name, err)
	}
	return fd, nil
}

// sweep counts the living records in an owner's directory and removes the dead ones.
// The caller has the turn.
func sweep(dir int) (living, dead int, err error) {
	all, err := listAny(dir)
	if err == nil {
		err = removeMute(dir, all)
	}
	if err != nil {
		return 0, 0, err
	}
	for _, name := range all {
		if isBeside(name) {
			continue
		}
		gone, err := removeDead(dir, name)
		if err != nil {
			return 0, 0, err
		}
		if gone {
			dead++
		} else {
			living++
		}
	}
	return living, dead, nil
}

// removeMute removes texts and sockets without a record: those of a launch that was
// killed before the record got its name, and those of a removal that failed. The caller
// has the turn. A record and its text are made in one turn, a socket after them.
func removeMute(dir int, all []string) error {
	for _, beside := range all {
		if !isBeside(beside) || slices.Contains(all, beside[1:]) {
			continue
		}
		if err := unix.Unlinkat(dir, beside, 0); err != nil && err != unix.ENOENT {
			return err
		}
	}
	return nil
}

// list lists the names of records, or of owners.
func list(dir int) ([]string, error) {
	names, err := listAny(dir)
	return slices.DeleteFunc(names, isBeside), err
}

// listAny lists everything in a directory. In one that has been removed there is nothing:
// an owner's goes with their last container.
func listAny(dir int) ([]string, error) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	directory := os.NewFile(uintptr(fd), "records")
	defer directory.Close()
	names, err := directory.Readdirnames(-1)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	return names, err
}

// removeDead removes a record without a mark. A record that is gone counts as dead,
// too. The caller has the turn: otherwise another record could have the name by now.
func removeDead(dir int, name string) (dead bool, err error) {
	fd, err := openRecord(dir, name)
	if err == unix.ENOENT {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	if alive, err := isMarked(dir, fd, name); err != nil || alive {
		return false, err
	}
	return true, unlink(dir, name)
}

// isMarked returns whether the supervisor of an open record lives. A record of an
// earlier version of the program has its text in the file itself, and a lock of
// flock(2).
func isMarked(dir, fd int, name string) (bool, error) {
	marked, err := lock.Marked(fd)
	if err != nil || marked {
		return marked, err
	}
	var st unix.Stat_t
	if unix.Fstatat(dir, textOf(name), &st, unix.AT_SYMLINK_NOFOLLOW) != unix.ENOENT {
		return false, nil
	}
	free, err := lock.TryTurn(fd)
	return !free, err
}

// unlink removes a record, and then its socket and text, so that a living record always
// has its text. The caller has the turn.
func unlink(dir int, name string) error {
	var errs []error
	for _, one := range []string{name, socketOf(name), textOf(name)} {
		if err := unix.Unlinkat(dir, one, 0); err != nil && err != unix.ENOENT {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Collect removes the records of an owner's dead supervisors, and the owner's directory
// if it is then empty. The thread must act on files as root.
func Collect(h here.Here, owner uint32) error { return collectOwner(h.State(), owner) }

func collectOwner(top string, owner uint32) error {
	dir, err := openExisting(ownerDirectory(top, owner))
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	return sweepAway(top, owner, dir)
}

// CollectAll removes the records of all dead supervisors, for root. It skips an owner
// whose turn another process has.
func CollectAll(h here.Here) error { return collectAll(h.State()) }

func collectAll(top string) error {
	return eachOwner(top, func(dir int, owner uint32) error { return sweepAway(top, owner, dir) })
}
