package user

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"mayfly/runtime/user/passwd"
)

// Subordinate finds the first range of at least so many ids that a file gives to a user, by name or by number. A range
// that is not the user's alone is refused: see CheckAlone.
func (d *Database) Subordinate(file string, who passwd.Entry, atLeast uint32) (passwd.Range, error) {
	text, err := readFile(file)
	if err != nil {
		return passwd.Range{}, err
	}
	return subordinate(string(text), d.known(file), file, who, atLeast)
}

// CheckAlone refuses a range that a file gives another user a part of, or that has the id of a user or group that the host
// knows: its files would be theirs.
func (d *Database) CheckAlone(file string, who passwd.Entry, r passwd.Range) error {
	text, err := readFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return r.Alone(string(text), d.known(file), file, who)
}

// probes is of how many ids of a range NSS is asked one by one: evenly spread, both
// ends among them.
const probes = 65

// CheckSources refuses a range that has the id of a user or group of another source of
// NSS. Not every source enumerates what it knows (SSSD does not, unless it is told to),
// and to ask for each of 65536 ids would take minutes: so a single id that no source
// enumerates can go unseen, a block of a thousand and more cannot.
func (d *Database) CheckSources(file string, who passwd.Entry, r passwd.Range) error {
	database := "passwd"
	if file == passwd.SubGIDFile {
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
		return fmt.Errorf("%w for %s: those from %d on have the id of %s, whom `getent %s` knows", passwd.ErrNoRange, who.Name, r.First, owner, database)
	}
	return nil
}

// known are the ids that a file may not give.
func (d *Database) known(file string) string {
	if file == passwd.SubGIDFile {
		return string(d.Group)
	}
	return string(d.Passwd)
}

func subordinate(text, known, file string, who passwd.Entry, atLeast uint32) (passwd.Range, error) {
	var found passwd.Range
	most := uint32(0)
	for line := range strings.Lines(text) {
		name, r, ok := passwd.ParseRange(strings.TrimSuffix(line, "\n"))
		switch {
		case !ok || !who.Is(name):
		case found.Count == 0 && r.Count >= atLeast:
			found = r
		default:
			most = max(most, r.Count)
		}
	}
	add := fmt.Sprintf("`usermod --add-sub%ss FIRST-LAST %s` as root gives some", file[len("/etc/sub"):], who.Name)
	switch {
	case found.Count == 0 && most > 0:
		return passwd.Range{}, fmt.Errorf("%w for %s: %s gives %d in a row, %d are needed; %s", passwd.ErrNoRange, who.Name, file, most, atLeast, add)
	case found.Count == 0:
		return passwd.Range{}, fmt.Errorf("%w for %s: %s gives none; %s", passwd.ErrNoRange, who.Name, file, add)
	}
	return found, found.Alone(text, known, file, who)
}
