package state

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"mayfly/runtime/internal/file"
	"mayfly/runtime/internal/realm"
)

// maxSize bounds a record, in bytes: a command line can be long.
const maxSize = 4 << 20

// List returns the records of living containers, of one owner or of all. The thread must
// act on files as root.
func List(of func(uid uint32) bool) ([]Record, error) { return listRecords(realm.State(), of) }

func listRecords(top string, of func(uid uint32) bool) ([]Record, error) {
	records := []Record{}
	err := eachOwner(top, func(dir int) error {
		names, err := list(dir)
		if err != nil {
			return err
		}
		for _, name := range names {
			if r, ok := read(dir, name); ok && of(r.UID) {
				records = append(records, r)
			}
		}
		return nil
	})
	return records, err
}

// read reads a living record. One that is just being written is not there yet.
func read(dir int, name string) (Record, bool) {
	var r Record
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return r, false
	}
	defer unix.Close(fd)
	if file.Flock(fd, unix.LOCK_SH|unix.LOCK_NB) != unix.EWOULDBLOCK {
		return r, false
	}
	data, err := file.ReadFD(fd, maxSize)
	return r, err == nil && json.Unmarshal(data, &r) == nil
}

// Find returns the record of a living container. More than one of that name is an error. The thread must act on
// files as root.
func Find(name string, of func(uid uint32) bool) (Record, error) {
	records, err := List(of)
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

// IsAlive tells whether the supervisor of an owner's container lives, or may: it is asked under the lock of the
// owner's directory, so that one that is just beginning is not taken for dead. The thread must act on files as root.
func IsAlive(owner uint32, name string) bool {
	dir, err := unix.Open(filepath.Join(realm.State(), strconv.FormatUint(uint64(owner), 10)), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err != unix.ENOENT
	}
	defer unix.Close(dir)
	if file.Flock(dir, unix.LOCK_EX) != nil {
		return true
	}
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err != unix.ENOENT
	}
	defer unix.Close(fd)
	return file.Flock(fd, unix.LOCK_SH|unix.LOCK_NB) == unix.EWOULDBLOCK
}
