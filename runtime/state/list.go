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

// List returns the records of an owner's living containers. It takes no lock. The
// thread must act on files as root.
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

// read reads a record, if its container lives. If the record's text is missing or
// invalid, it returns a record with just the name.
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
	r.UID = owner // the directory says whose it is, whatever the text says
	return r, true, nil
}

// readItself reads a record of an earlier version of the program, whose text is in the
// file itself. If the text is invalid, it returns a record with just the name.
func readItself(fd int, name string) (r Record) {
	data, err := file.ReadFD(fd, maxEarlier)
	if err != nil || exact.Unmarshal(data, &r) != nil || r.Name != name {
		return Record{Name: name}
	}
	return r
}

// maxEarlier is the size limit of such a record, in bytes.
const maxEarlier = 4 << 20

// Holder finds the process that has marked the record of an owner's container, for
// root. It is for records that do not name the supervisor, or name one that has ended.
// 0: not found.
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

// Find returns the record of an owner's living container. The thread must act on files
// as root.
func Find(h here.Here, name string, owner uint32) (Record, error) {
	records, err := List(h, owner)
	return one(name, records, err)
}

// FindAny returns the record of any owner's living container, for root. It is an error
// if several owners have a container of that name.
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

// IsAlive returns whether the supervisor of an owner's container lives. If that is
// unknown, it returns true. The thread must act on files as root.
func IsAlive(h here.Here, owner uint32, name string) bool {
	_, alive := living(h.State(), owner, name)
	return alive
}

// Lives returns whether an owner's living container uses the snapshot of this name as
// its root file system, or the throw-away directory of this name. If that is unknown, it
// returns true. It compares names only, since a store can have several paths; the names
// are random. The thread must act on files as root.
func Lives(h here.Here, owner uint32, name, snapshot string) bool {
	r, alive := living(h.State(), owner, name)
	return alive && (r.Root == "" || filepath.Base(r.Root) == snapshot || r.Disk == snapshot)
}

// living reads a record. The record is empty if it cannot be read.
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

// openExisting opens a directory of records. It returns ENOENT itself if there is none.
func openExisting(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil && err != unix.ENOENT {
		return -1, fmt.Errorf("open state directory %s: %w", path, err)
	}
	return fd, err
}

// eachOwner calls f with the open directory of each owner.
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
