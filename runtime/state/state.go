// Package state records the running containers, by owner: one file each, in a
// directory of root's (realm.State). A record is locked by the container's supervisor while that lives; the
// kernel drops the lock with the process, however that ends, so a record that nobody has
// locked is of a dead one. (A process id would say nothing: it may be somebody else's by now.)
package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/internal/file"
	"mayfly/runtime/internal/realm"
)

var (
	// ErrNameTaken means that a container of that name and owner is running.
	ErrNameTaken = errors.New("container name is in use")
	// ErrUnknown means that no container of that name is running.
	ErrUnknown = errors.New("no such container")
	// ErrTooMany means that the owner has as many containers as the policy allows.
	ErrTooMany = errors.New("too many containers")
)

// A Record is what is known of a running container.
type Record struct {
	Name    string    `json:"name"`
	Image   string    `json:"image"`
	UID     uint32    `json:"uid"` // of the owner, who started it
	PID     int       `json:"pid"` // of the supervisor
	Command []string  `json:"command"`
	Root    string    `json:"root"` // the root file system, on the host
	Started time.Time `json:"started"`
	Network string    `json:"network,omitempty"` // what kind of its own it has; "": the host's
}

// Socket is where the container's supervisor answers.
func (r Record) Socket() string {
	return filepath.Join(realm.State(), strconv.FormatUint(uint64(r.UID), 10), socketOf(r.Name))
}

// socketOf is the name of a record's socket beside it; no container's name begins so.
func socketOf(name string) string { return "." + name }

// An Entry is the record of a container of one's own. Its holder must Remove it.
type Entry struct {
	Record
	dir int
	fd  int
}

// Register records a container. Where limit is not 0 the owner may have so many, this one
// included. The thread must act on files as root. The entry stands until Remove, or is
// removed by a later Collect when the process has ended.
func Register(r Record, limit int) (*Entry, error) {
	return register(realm.State(), realm.Root(), r, limit)
}

func register(top string, owner uint32, r Record, limit int) (*Entry, error) {
	dir, err := openOwner(top, owner, r.UID)
	if err != nil {
		return nil, err
	}
	e := &Entry{Record: r, dir: dir, fd: -1}
	if err := e.register(r, limit); err != nil {
		e.close()
		return nil, fmt.Errorf("record container %s: %w", r.Name, err)
	}
	return e, nil
}

// register counts and writes under the lock of the owner's directory, which nobody else
// can open, so that of two launches at once each sees the other.
func (e *Entry) register(r Record, limit int) error {
	if err := file.Flock(e.dir, unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	defer func() { _ = file.Flock(e.dir, unix.LOCK_UN) }()
	if limit > 0 {
		living, _, err := sweep(e.dir)
		if err != nil {
			return err
		}
		if living >= limit {
			return fmt.Errorf("%w: the policy allows you %d at a time", ErrTooMany, limit)
		}
	}
	if err := e.create(); err != nil {
		return err
	}
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := unix.Write(e.fd, data); err != nil {
		return errors.Join(fmt.Errorf("write: %w", err), unix.Unlinkat(e.dir, e.Name, 0))
	}
	return nil
}

// create makes the file and locks it. One that a dead supervisor left is replaced.
func (e *Entry) create() error {
	for range 2 {
		fd, err := unix.Openat(e.dir, e.Name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err == nil {
			e.fd = fd
			if err := file.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
				return errors.Join(err, unlink(e.dir, e.Name))
			}
			return nil
		}
		if err != unix.EEXIST {
			return err
		}
		if dead, err := removeDead(e.dir, e.Name); err != nil || !dead {
			return errors.Join(ErrNameTaken, err)
		}
	}
	return ErrNameTaken
}

// Sweep removes the owner's dead records and tells whether there were any. The thread must act on files as root.
func (e *Entry) Sweep() (bool, error) {
	if err := file.Flock(e.dir, unix.LOCK_EX); err != nil {
		return false, fmt.Errorf("lock: %w", err)
	}
	defer func() { _ = file.Flock(e.dir, unix.LOCK_UN) }()
	_, dead, err := sweep(e.dir)
	return dead > 0, err
}

// Remove removes the record. The thread must act on files as root.
func (e *Entry) Remove() error {
	err := unlink(e.dir, e.Name)
	e.close()
	if err != nil {
		return fmt.Errorf("remove the record of container %s: %w", e.Name, err)
	}
	return nil
}

func (e *Entry) close() {
	if e.fd >= 0 {
		unix.Close(e.fd)
	}
	unix.Close(e.dir)
}

// openOwner opens the directory of an owner, and makes it.
func openOwner(top string, root, uid uint32) (int, error) {
	fd, err := openDirectory(unix.AT_FDCWD, top, root, 0o755)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd)
	return openDirectory(fd, strconv.FormatUint(uint64(uid), 10), root, 0o700)
}

// openDirectory makes a directory if it is not there, and opens it. It must be root's and
// nobody else's to write: a link or a directory that somebody put in its place is refused.
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

// sweep counts the living records in an owner's directory and removes the dead.
func sweep(dir int) (living, dead int, err error) {
	names, err := list(dir)
	if err != nil {
		return 0, 0, err
	}
	for _, name := range names {
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

func list(dir int) ([]string, error) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	directory := os.NewFile(uintptr(fd), "records")
	defer directory.Close()
	names, err := directory.Readdirnames(-1)
	return slices.DeleteFunc(names, func(name string) bool { return name[0] == '.' }), err
}

// removeDead removes a record that nobody has locked. One that is gone is dead too.
func removeDead(dir int, name string) (dead bool, err error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	err = file.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, unlink(dir, name)
}

// unlink removes a record and its socket.
func unlink(dir int, name string) error {
	for _, one := range []string{socketOf(name), name} {
		if err := unix.Unlinkat(dir, one, 0); err != nil && err != unix.ENOENT {
			return err
		}
	}
	return nil
}

// Collect removes the records of dead supervisors. The thread must act on files as root.
func Collect() error { return collect(realm.State()) }

func collect(top string) error {
	return eachOwner(top, func(dir int) error {
		// Under the directory's lock: a record is not locked in the moment of its creation.
		if err := file.Flock(dir, unix.LOCK_EX); err != nil {
			return err
		}
		_, _, err := sweep(dir)
		return err
	})
}

// eachOwner calls f with the directory of each owner, open for as long.
func eachOwner(top string, f func(dir int) error) error {
	fd, err := unix.Open(top, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open state directory %s: %w", top, err)
	}
	defer unix.Close(fd)
	names, err := list(fd)
	if err != nil {
		return fmt.Errorf("list state directory %s: %w", top, err)
	}
	var errs []error
	for _, name := range names {
		dir, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			continue // nothing of ours
		}
		if err := f(dir); err != nil {
			errs = append(errs, fmt.Errorf("state directory %s: %w", filepath.Join(top, name), err))
		}
		unix.Close(dir)
	}
	return errors.Join(errs...)
}
