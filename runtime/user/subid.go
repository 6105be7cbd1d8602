package user

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Files that give users subordinate ids: subuid(5), subgid(5).
const (
	SubUIDFile = "/etc/subuid"
	SubGIDFile = "/etc/subgid"
)

// A Range is a run of ids that belong to no user of the host.
type Range struct{ First, Count uint32 }

// ErrNoRange means that a user has no subordinate ids that would do.
var ErrNoRange = errors.New("no subordinate ids")

// Subordinate finds the first range of at least so many ids that a file gives to a user, by name or by number. A range
// that is not the user's alone is refused: see CheckAlone.
func (d *Database) Subordinate(file string, who Entry, atLeast uint32) (Range, error) {
	text, err := readFile(file)
	if err != nil {
		return Range{}, err
	}
	return subordinate(string(text), d.known(file), file, who, atLeast)
}

// CheckAlone refuses a range that a file gives another user a part of, or that has the id of a user or group that the host
// knows: its files would be theirs.
func (d *Database) CheckAlone(file string, who Entry, r Range) error {
	text, err := readFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return r.alone(string(text), d.known(file), file, who)
}

// probes is of how many ids of a range NSS is asked one by one: evenly spread, both
// ends among them.
const probes = 65

// CheckSources refuses a range that has the id of a user or group of another source of
// NSS. Not every source enumerates what it knows (SSSD does not, unless it is told to),
// and to ask for each of 65536 ids would take minutes: so a single id that no source
// enumerates can go unseen, a block of a thousand and more cannot.
func (d *Database) CheckSources(file string, who Entry, r Range) error {
	database := "passwd"
	if file == SubGIDFile {
		database = "group"
	}
	if more, err := d.elsewhere(database); err != nil || !more {
		return err
	}
	var ids []string
	for i := range uint64(probes) {
		ids = append(ids, strconv.FormatUint(uint64(r.First)+i*uint64(r.Count-1)/(probes-1), 10))
	}
	all, err := d.ask(database)
	if err != nil {
		return err
	}
	asked, err := d.ask(database, slices.Compact(ids)...)
	if err != nil {
		return err
	}
	if owner, taken := r.Owner(all + asked); taken {
		return fmt.Errorf("%w for %s: those from %d on have the id of %s, whom `getent %s` knows", ErrNoRange, who.Name, r.First, owner, database)
	}
	return nil
}

// known are the ids that a file may not give.
func (d *Database) known(file string) string {
	if file == SubGIDFile {
		return string(d.Group)
	}
	return string(d.Passwd)
}

func subordinate(text, known, file string, who Entry, atLeast uint32) (Range, error) {
	var found Range
	most := uint32(0)
	for line := range strings.Lines(text) {
		name, r, ok := parseRange(strings.TrimSuffix(line, "\n"))
		switch {
		case !ok || !who.is(name):
		case found.Count == 0 && r.Count >= atLeast:
			found = r
		default:
			most = max(most, r.Count)
		}
	}
	add := fmt.Sprintf("`usermod --add-sub%ss FIRST-LAST %s` as root gives some", file[len("/etc/sub"):], who.Name)
	switch {
	case found.Count == 0 && most > 0:
		return Range{}, fmt.Errorf("%w for %s: %s gives %d in a row, %d are needed; %s", ErrNoRange, who.Name, file, most, atLeast, add)
	case found.Count == 0:
		return Range{}, fmt.Errorf("%w for %s: %s gives none; %s", ErrNoRange, who.Name, file, add)
	}
	return found, found.alone(text, known, file, who)
}

// is tells whether a user is meant by a name or number.
func (e Entry) is(name string) bool {
	return name == e.Name || name == strconv.FormatUint(uint64(e.UID), 10)
}

func (r Range) alone(text, known, file string, who Entry) error {
	for line := range strings.Lines(text) {
		name, other, ok := parseRange(strings.TrimSuffix(line, "\n"))
		if ok && !who.is(name) && r.overlaps(other) {
			return fmt.Errorf("%w for %s: those from %d on are partly another user's, see %s", ErrNoRange, who.Name, r.First, file)
		}
	}
	if owner, taken := r.Owner(known); taken {
		return fmt.Errorf("%w for %s: those from %d on have the id of %s", ErrNoRange, who.Name, r.First, owner)
	}
	return nil
}

// parseRange reads one line of subuid(5). What is none is passed over, as shadow's own programs do.
func parseRange(line string) (name string, r Range, ok bool) {
	f := strings.Split(line, ":")
	if len(f) != 3 || f[0] == "" {
		return "", r, false
	}
	first, err := strconv.ParseUint(f[1], 10, 32)
	if err != nil {
		return "", r, false
	}
	count, err := strconv.ParseUint(f[2], 10, 32)
	// 4294967295 is no id, and 0 would be root.
	if err != nil || count == 0 || first == 0 || first+count > 1<<32-1 {
		return "", r, false
	}
	return f[0], Range{uint32(first), uint32(count)}, true
}

func (r Range) overlaps(o Range) bool {
	return uint64(r.First) < uint64(o.First)+uint64(o.Count) && uint64(o.First) < uint64(r.First)+uint64(r.Count)
}

// Has tells whether an id is in the range.
func (r Range) Has(id uint32) bool { return r.overlaps(Range{id, 1}) }

// Owner finds whose id of passwd(5) or group(5) is in the range: in both it is the third field.
func (r Range) Owner(known string) (name string, found bool) {
	for line := range strings.Lines(known) {
		f := strings.SplitN(line, ":", 4)
		if len(f) < 4 {
			continue
		}
		if id, err := strconv.ParseUint(f[2], 10, 32); err == nil && r.Has(uint32(id)) {
			return f[0], true
		}
	}
	return "", false
}
