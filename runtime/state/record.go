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

// A Record describes a running container.
type Record struct {
	Name    string    `json:"name"`
	Image   string    `json:"image"`
	UID     uint32    `json:"uid"` // of the owner, who started it
	PID     int       `json:"pid"` // of the supervisor; 0: the record cannot be read
	Command []string  `json:"command"`
	Cut     bool      `json:"commandCut,omitempty"` // the command is longer
	Root    string    `json:"root"`                 // the root file system, on the host
	Disk    string    `json:"disk,omitempty"`       // name of the throw-away directory of the store with /tmp; "": none
	Started time.Time `json:"started"`
	Network string    `json:"network,omitempty"` // the kind of its network; "": the host's
	AsOwner bool      `json:"asOwner,omitempty"` // the command has the owner's user id
}

// Socket returns the path of the socket on which the container's supervisor answers.
func (r Record) Socket(h here.Here) string {
	return filepath.Join(ownerDirectory(h.State(), r.UID), socketOf(r.Name))
}

func ownerDirectory(top string, uid uint32) string {
	return filepath.Join(top, strconv.FormatUint(uint64(uid), 10))
}

// The files of a container NAME: the marked file NAME, the socket .NAME, and the text
// =NAME. No container's name starts with these characters.
func socketOf(name string) string { return "." + name }
func textOf(name string) string   { return "=" + name }

// isBeside returns whether a name in a directory of records is that of a socket or
// text.
func isBeside(name string) bool { return name[0] == '.' || name[0] == '=' }

// maxText is the size limit of a record's text, in bytes. The text is the target of a
// symbolic link: a link is made completely or not at all, and no resource limit applies
// to it. The caller could cut a file with RLIMIT_FSIZE, which prlimit(2) can set on a
// running supervisor.
const maxText = 4095

// leastText is the length of a link that every file system accepts (XFS has the lowest
// limit).
const leastText = 1023

// encode encodes a record in at most limit bytes. It cuts the command if needed: a
// caller can make it two megabytes long, of characters that take six bytes each.
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

// cut returns about the first budget bytes of a command.
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

// writeText makes the link with a record's text. It replaces a dead record's link.
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

// readText reads a record's text.
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
