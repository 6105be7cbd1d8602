package state

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/here"
	"mayfly/runtime/internal/exact"
)

// A Record is what is known of a running container.
type Record struct {
	Name    string    `json:"name"`
	Image   string    `json:"image"`
	UID     uint32    `json:"uid"` // of the owner, who started it
	PID     int       `json:"pid"` // of the supervisor; 0: the record cannot be read
	Command []string  `json:"command"`
	Cut     bool      `json:"commandCut,omitempty"` // the command is longer
	Root    string    `json:"root"`                 // the root file system, on the host
	Started time.Time `json:"started"`
	Network string    `json:"network,omitempty"` // what kind of its own it has; "": the host's
	AsOwner bool      `json:"asOwner,omitempty"` // the command has the owner's user id
}

// Socket is where the container's supervisor answers.
func (r Record) Socket(h here.Here) string {
	return filepath.Join(ownerDirectory(h.State(), r.UID), socketOf(r.Name))
}

func ownerDirectory(top string, uid uint32) string {
	return filepath.Join(top, strconv.FormatUint(uint64(uid), 10))
}

// Beside the file NAME, which the supervisor has marked, are its socket and what it says. No
// container's name begins so.
func socketOf(name string) string { return "." + name }
func textOf(name string) string   { return "=" + name }

// isBeside tells that a name in a directory of records is not a record's.
func isBeside(name string) bool { return name[0] == '.' || name[0] == '=' }

// maxText bounds what a record says, in bytes: it is the target of a symbolic link. A link is
// made whole or not at all, and no limit of the caller's applies to it: RLIMIT_FSIZE, which
// prlimit(2) can set on a running supervisor, would cut a file.
const maxText = 4095

// leastText is what every file system takes of a link (XFS).
const leastText = 1023

// encode writes a record in at most so many bytes. What is cut is the command: a caller can
// make it two megabytes long, of characters that take six bytes each.
func (r Record) encode(limit int) (string, error) {
	whole := r.Command
	for budget := limit; ; budget /= 2 {
		data, err := exact.Marshal(r)
		if err != nil {
			return "", err
		}
		if len(data) <= limit {
			return string(data), nil
		}
		if budget == 0 {
			return "", fmt.Errorf("%d bytes: %w", len(data), unix.ENAMETOOLONG)
		}
		r.Command, r.Cut = cut(whole, budget), true
	}
}

// cut takes so many bytes of a command.
func cut(command []string, budget int) []string {
	list := []string{}
	for _, arg := range command {
		if budget <= 0 {
			break
		}
		list = append(list, arg[:min(len(arg), budget)])
		budget -= len(arg) + 1
	}
	return list
}

// writeText makes the link that says what a record says, in the place of a dead one's.
func writeText(dir int, r Record) error {
	for _, limit := range []int{maxText, leastText} {
		text, err := r.encode(limit)
		if err != nil {
			return err
		}
		if err := unix.Unlinkat(dir, textOf(r.Name), 0); err != nil && err != unix.ENOENT {
			return err
		}
		if err = unix.Symlinkat(text, dir, textOf(r.Name)); err != unix.ENAMETOOLONG {
			return err
		}
	}
	return unix.ENAMETOOLONG
}

// readText reads what a record says.
func readText(dir int, name string) (Record, error) {
	var text [maxText + 1]byte
	n, err := unix.Readlinkat(dir, textOf(name), text[:])
	if err != nil {
		return Record{}, err
	}
	var r Record
	if err := exact.Unmarshal(text[:n], &r); err != nil {
		return Record{}, err
	}
	if r.Name != name {
		return Record{}, errors.New("it is another's")
	}
	return r, nil
}
