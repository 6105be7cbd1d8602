// Package passwd reads lines of passwd(5), group(5), subuid(5) and subgid(5). It is
// pure: package user finds the lines, and the plan of a launch uses what they say.
package passwd

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Files of the database.
const (
	PasswdFile = "/etc/passwd"
	GroupFile  = "/etc/group"
)

// ErrUnknown and ErrUnknownGroup mean that neither the files nor getent(1) know a user
// or group.
var (
	ErrUnknown      = errors.New("unknown user")
	ErrUnknownGroup = errors.New("unknown group")
)

// An Entry is one line of passwd(5).
type Entry struct {
	Name  string
	UID   uint32
	GID   uint32
	Home  string
	Shell string
	Line  string // as it stands, without the newline
}

// ParseLine reads one line of passwd(5).
func ParseLine(line string) (Entry, error) {
	f := strings.Split(line, ":")
	if len(f) != 7 || f[0] == "" {
		return Entry{}, fmt.Errorf("passwd line %q: want seven fields", line)
	}
	uid, err := strconv.ParseUint(f[2], 10, 32)
	if err != nil {
		return Entry{}, fmt.Errorf("passwd line %q: user id: %w", line, err)
	}
	gid, err := strconv.ParseUint(f[3], 10, 32)
	if err != nil {
		return Entry{}, fmt.Errorf("passwd line %q: group id: %w", line, err)
	}
	if uid == 1<<32-1 || gid == 1<<32-1 { // setresuid(2): "no change"
		return Entry{}, fmt.Errorf("passwd line %q: %d is no id", line, uint32(1<<32-1))
	}
	return Entry{Name: f[0], UID: uint32(uid), GID: uint32(gid), Home: f[5], Shell: f[6], Line: line}, nil
}

// Names returns the names with which the lines of a file begin.
func Names(file []byte) (names []string) {
	for line := range strings.Lines(string(file)) {
		if name, _, is := strings.Cut(line, ":"); is {
			names = append(names, name)
		}
	}
	return names
}

// ParseGroup reads the group id from a line of group(5). The error wraps
// ErrUnknownGroup if the line is not of that name.
func ParseGroup(line, name string) (uint32, error) {
	f := strings.Split(line, ":")
	if len(f) != 4 || f[0] != name {
		return 0, fmt.Errorf("%w %q", ErrUnknownGroup, name)
	}
	gid, err := strconv.ParseUint(f[2], 10, 32)
	if err != nil {
		return 0, fmt.Errorf("group line %q: %w", line, err)
	}
	return uint32(gid), nil
}

// Append returns a copy of a database file with lines added.
func Append(file []byte, lines ...string) []byte {
	out := bytes.Clone(file)
	for _, line := range lines {
		if len(out) > 0 && out[len(out)-1] != '\n' {
			out = append(out, '\n')
		}
		out = append(append(out, line...), '\n')
	}
	return out
}

// Is tells whether a name or number means the user.
func (e Entry) Is(name string) bool {
	return name == e.Name || name == strconv.FormatUint(uint64(e.UID), 10)
}

// Nameless makes an entry for a user who has a number and no name.
func Nameless(uid, gid uint32) Entry {
	name := "user" + strconv.FormatUint(uint64(uid), 10)
	line := fmt.Sprintf("%s:x:%d:%d::/:/bin/sh", name, uid, gid)
	return Entry{Name: name, UID: uid, GID: gid, Home: "/", Shell: "/bin/sh", Line: line}
}
