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

// Subordinate finds the first range of at least so many ids that a file gives to a
// user, by name or by number. A range user, by name or by number. It refuses a range
// that is not the user's alone: see CheckAlone.
func (d *Database) Subordinate(file string, who passwd.Entry, atLeast uint32) (passwd.Range, error) {
	text, err := readFile(file)
	if err != nil {
		return passwd.Range{}, err
	}
	return subordinate(string(text), d.known(file), file, who, atLeast)
}

// CheckAlone refuses a range if the file gives a part of it to another user, or if it
// contains the id of a user or group of the host: files with these ids would belong to
// them.
func (d *Database) CheckAlone(file string, who passwd.Entry, r passwd.Range) error {
	text, err := readFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return r.Alone(string(text), d.known(file), file, who)
}

// probes is the number of ids of a range for which NSS is asked: evenly spread, with
// both ends.
const probes = 65

// CheckSources refuses a range that contains the id of a user or group of another
// source of NSS. Some sources do not enumerate what they know (SSSD does so only if
// configured), and to ask for each of 65536 ids would take minutes. So a single id that
// no source enumerates can be missed; a block of a thousand or more cannot.
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

// known returns the database file whose ids a file of subordinate ids must not contain.
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
