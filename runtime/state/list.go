package state

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"mayfly/runtime/here"
	"mayfly/runtime/internal/exact"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/internal/lock"
)

// List returns the records of living containers, of one owner. It takes no lock. The thread
// must act on files as root.
func List(h here.Here, owner uint32) ([]Record, error) { return listOwner(h.State(), owner) }

// ListAll returns the records of all living containers, for root.
func ListAll(h here.Here) ([]Record, error) { return listAll(h.State()) }

func listAll(top string) ([]Record, error) {
	records := []Record{}
	err := eachOwner(top, func(dir int, owner uint32) error {
		list, err := listDirectory(dir, owner)
		records = append(records, list...)
		return err
	})
	return records, err
}

func listOwner(top string, owner uint32) ([]Record, error) {
	dir, err := openExisting(ownerDirectory(top, owner))
	if err == unix.ENOENT {
		return []Record{}, nil
	}
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	return listDirectory(dir, owner)
}

func listDirectory(dir int, owner uint32) ([]Record, error) {
	names, err := list(dir)
	if err != nil {
		return nil, err
	}
	records := []Record{}
	for _, name := range names {
		if r, alive, err := read(dir, name, owner); err == nil && alive {
			records = append(records, r)
		}
	}
	return records, nil
}

// read reads a record, if its container lives. One that says nothing is told by its name.
func read(dir int, name string, owner uint32) (r Record, alive bool, err error) {
	fd, err := openRecord(dir, name)
	if err == unix.ENOENT {
		return r, false, nil
	}
	if err != nil {
		return r, false, err
	}
	defer unix.Close(fd)
	if alive, err = isMarked(dir, fd, name); err != nil || !alive {
		return r, alive, err
	}
	if r, err = readText(dir, name); err != nil {
		r = readItself(fd, name)
	}
	r.UID = owner // which the directory tells
	return r, true, nil
}

// readItself reads a record of an earlier version of the program. What says nothing is a record of
// this name.
func readItself(fd int, name string) (r Record) {
	data, err := file.ReadFD(fd, maxEarlier)
	if err != nil || exact.Unmarshal(data, &r) != nil || r.Name != name {
		return Record{Name: name}
	}
	return r
}

// maxEarlier bounds what is read of such a record, in bytes.
const maxEarlier = 4 << 20

// Holder finds the process that has marked the record of an owner's container, for root: where
// the record does not say, or what it says has ended. 0 says that it cannot be found.
func Holder(h here.Here, owner uint32, name string) int {
	dir, err := openExisting(ownerDirectory(h.State(), owner))
	if err != nil {
		return 0
	}
	defer unix.Close(dir)
	fd, err := openRecord(dir, name)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	for _, holder := range lock.Holders(fd) {
		if holder.UID == owner || holder.UID == h.Root().UID { // PID 1 is root's
			return holder.PID
		}
	}
	return 0
}

// Find returns the record of a living container of an owner. The thread must act on files as
// root.
func Find(h here.Here, name string, owner uint32) (Record, error) {
	records, err := List(h, owner)
	return one(name, records, err)
}

// FindAny returns the record of a living container of any owner, for root. More than one of
// that name is an error.
func FindAny(h here.Here, name string) (Record, error) {
	records, err := ListAll(h)
	return one(name, records, err)
}

func one(name string, records []Record, err error) (Record, error) {
	if err != nil {
		return Record{}, err
	}
	records = slices.DeleteFunc(records, func(r Record) bool { return r.Name != name })
	switch len(records) {
	case 0:
		return Record{}, ErrUnknown
	case 1:
		return records[0], nil
	}
	return Record{}, fmt.Errorf("%d users have a container %s: say OWNER/%s", len(records), name, name)
}

// IsAlive tells whether the supervisor of an owner's container lives, or may. The thread must
// act on files as root.
func IsAlive(h here.Here, owner uint32, name string) bool {
	_, alive := living(h.State(), owner, name)
	return alive
}

// Lives tells whether an owner's living container has a copy of this name as its root file
// system, or may: names of copies are random, and a store can have several paths. The thread
// must act on files as root.
func Lives(h here.Here, owner uint32, name, copy string) bool {
	r, alive := living(h.State(), owner, name)
	return alive && (r.Root == "" || filepath.Base(r.Root) == copy)
}

// living reads a record, which is empty where that cannot be told.
func living(top string, owner uint32, name string) (Record, bool) {
	dir, err := openExisting(ownerDirectory(top, owner))
	if err != nil {
		return Record{}, err != unix.ENOENT
	}
	defer unix.Close(dir)
	r, alive, err := read(dir, name, owner)
	return r, alive || err != nil
}

func openRecord(dir int, name string) (int, error) {
	return unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
}

// openExisting opens a directory of records, ENOENT where there is none.
func openExisting(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil && err != unix.ENOENT {
		return -1, fmt.Errorf("open state directory %s: %w", path, err)
	}
	return fd, err
}

// eachOwner calls f with the directory of each owner, open for as long.
func eachOwner(top string, f func(dir int, owner uint32) error) error {
	fd, err := openExisting(top)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	names, err := list(fd)
	if err != nil {
		return fmt.Errorf("list state directory %s: %w", top, err)
	}
	var errs []error
	for _, name := range names {
		owner, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			continue // nothing of ours
		}
		dir, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			continue // nothing of ours
		}
		if err := f(dir, uint32(owner)); err != nil {
			errs = append(errs, fmt.Errorf("state directory %s: %w", filepath.Join(top, name), err))
		}
		unix.Close(dir)
	}
	return errors.Join(errs...)
}
