// Package user reads the host's user database: /etc/passwd and /etc/group itself, other
// sources of NSS (LDAP, SSSD) with getent(1), since a static program cannot load NSS
// modules.
package user

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"mayfly/runtime/here"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/user/passwd"
)

// A Database is the host's user database, its two files read once.
type Database struct {
	Passwd, Group []byte
	elsewhere     func(databases ...string) (bool, error) // whether NSS has other sources than the files
	ask           func(database string, keys ...string) (string, error)
}

// Load reads the files. A missing file counts as empty.
func Load(h here.Here) (*Database, error) {
	users, err := readFile(passwd.PasswdFile)
	if err != nil {
		return nil, err
	}
	group, err := readFile(passwd.GroupFile)
	if err != nil {
		return nil, err
	}
	return &Database{Passwd: users, Group: group, elsewhere: askSources,
		ask: func(database string, keys ...string) (string, error) { return askNSS(h, database, keys...) }}, nil
}

// maxSize is the size limit of a database file, in bytes.
const maxSize = 64 << 20

func readFile(name string) ([]byte, error) {
	data, err := file.Read(name, maxSize)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// ByID finds a user by number. listed: /etc/passwd has the line.
func (d *Database) ByID(uid uint32) (entry passwd.Entry, listed bool, err error) {
	number := strconv.FormatUint(uint64(uid), 10)
	return d.find(number, func(e passwd.Entry) bool { return e.UID == uid })
}

// Listed finds a user by number in /etc/passwd alone.
func (d *Database) Listed(uid uint32) (passwd.Entry, bool) {
	return d.listed(func(e passwd.Entry) bool { return e.UID == uid })
}

// ByName finds a user by name.
func (d *Database) ByName(name string) (entry passwd.Entry, listed bool, err error) {
	if name == "" || strings.ContainsAny(name, ":\n\x00") || name[0] == '-' {
		return passwd.Entry{}, false, fmt.Errorf("%w %q", passwd.ErrUnknown, name)
	}
	return d.find(name, func(e passwd.Entry) bool { return e.Name == name })
}

// ByNameOrNumber finds a user by name, or else by number.
func (d *Database) ByNameOrNumber(who string) (passwd.Entry, bool, error) {
	entry, listed, err := d.ByName(who)
	if errors.Is(err, passwd.ErrUnknown) {
		// 4294967295 is (uid_t)-1, "no change" to setresuid(2): never a user.
		if number, bad := strconv.ParseUint(who, 10, 32); bad == nil && number != 1<<32-1 {
			return d.ByID(uint32(number))
		}
	}
	return entry, listed, err
}

func (d *Database) listed(match func(passwd.Entry) bool) (passwd.Entry, bool) {
	for line := range strings.Lines(string(d.Passwd)) {
		if e, err := passwd.ParseLine(strings.TrimSuffix(line, "\n")); err == nil && match(e) {
			return e, true
		}
	}
	return passwd.Entry{}, false
}

func (d *Database) find(key string, match func(passwd.Entry) bool) (passwd.Entry, bool, error) {
	if e, ok := d.listed(match); ok {
		return e, true, nil
	}
	line, err := d.one("passwd", key)
	if err != nil {
		return passwd.Entry{}, false, err
	}
	if line == "" {
		return passwd.Entry{}, false, fmt.Errorf("%w %q", passwd.ErrUnknown, key)
	}
	e, err := passwd.ParseLine(line)
	if err == nil && !match(e) { // getent takes a name that consists of digits for a number
		err = fmt.Errorf("%w %q", passwd.ErrUnknown, key)
	}
	return e, false, err
}

// Groups returns a user's primary and supplementary groups in the database. (The
// caller's groups come from the kernel, not from here.)
func (d *Database) Groups(e passwd.Entry) ([]uint32, error) {
	groups := []uint32{e.GID}
	add := func(number string) {
		gid, err := strconv.ParseUint(number, 10, 32)
		if err == nil && !slices.Contains(groups, uint32(gid)) {
			groups = append(groups, uint32(gid))
		}
	}
	for line := range strings.Lines(string(d.Group)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) == 4 && slices.Contains(strings.Split(f[3], ","), e.Name) {
			add(f[2])
		}
	}
	if elsewhere, err := d.elsewhere(groupSources...); err != nil || !elsewhere {
		return groups, err
	}
	// "NAME GID GID...", from all sources.
	line, err := d.one("initgroups", e.Name)
	if err != nil {
		return nil, err
	}
	if fields := strings.Fields(line); len(fields) > 1 {
		for _, number := range fields[1:] {
			add(number)
		}
	}
	return groups, nil
}

// GroupByName finds a group's number.
func (d *Database) GroupByName(name string) (uint32, error) {
	if name == "" || strings.ContainsAny(name, ":\n\x00") || name[0] == '-' {
		return 0, fmt.Errorf("%w %q", passwd.ErrUnknownGroup, name)
	}
	for line := range strings.Lines(string(d.Group)) {
		if gid, err := passwd.ParseGroup(line, name); err == nil {
			return gid, nil
		}
	}
	line, err := d.one("group", name)
	if err != nil {
		return 0, err
	}
	return passwd.ParseGroup(line, name)
}

// GroupName finds a group's name in /etc/group.
func (d *Database) GroupName(gid uint32) (string, bool) {
	number := strconv.FormatUint(uint64(gid), 10)
	for line := range strings.Lines(string(d.Group)) {
		if f := strings.Split(line, ":"); len(f) == 4 && f[2] == number {
			return f[0], true
		}
	}
	return "", false
}

// MissingGroups returns the lines of group(5) for those gids that /etc/group
// /etc/group does not have.
func (d *Database) MissingGroups(gids []uint32) ([]string, error) {
	asked := map[string]bool{}
	for line := range strings.Lines(string(d.Group)) {
		if f := strings.SplitN(line, ":", 4); len(f) == 4 {
			asked[f[2]] = true
		}
	}
	var numbers []string
	for _, gid := range gids {
		if number := strconv.FormatUint(uint64(gid), 10); !asked[number] {
			asked[number] = true
			numbers = append(numbers, number)
		}
	}
	var lines []string
	for some := range slices.Chunk(numbers, maxKeys) {
		out, err := d.ask("group", some...)
		if err != nil {
			return nil, err
		}
		lines = append(lines, answers(out, some)...)
	}
	return lines, nil
}

// maxKeys is the number of keys for one call of getent. Each call starts processes, and
// asks the sources anew.
const maxKeys = 1000

// answers returns one line of out for each of numbers that has one. It leaves out lines
// for other numbers.
func answers(out string, numbers []string) []string {
	var lines []string
	open := map[string]bool{}
	for _, number := range numbers {
		open[number] = true
	}
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		if f := strings.Split(line, ":"); len(f) == 4 && f[0] != "" && open[f[2]] {
			open[f[2]] = false
			lines = append(lines, line)
		}
	}
	return lines
}
