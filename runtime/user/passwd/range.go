package passwd

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Files that give users subordinate ids: subuid(5), subgid(5).
const (
	SubUIDFile = "/etc/subuid"
	SubGIDFile = "/etc/subgid"
)

// A Range is a range of subordinate ids, which should belong to no user of the host.
type Range struct{ First, Count uint32 }

// ErrNoRange means that a user has no subordinate ids that can be used.
var ErrNoRange = errors.New("no subordinate ids")

// Alone returns an error that wraps ErrNoRange if some ids of the range are also
// another user's subordinate ids, or the id of a user or group. text is subuid(5) or
// subgid(5) and file its name; known is passwd(5) or group(5); who is the user who has
// the range.
func (r Range) Alone(text, known, file string, who Entry) error {
	for line := range strings.Lines(text) {
		name, other, ok := ParseRange(strings.TrimSuffix(line, "\n"))
		if ok && !who.Is(name) && r.overlaps(other) {
			return fmt.Errorf("%w for %s: those from %d on are partly another user's, see %s", ErrNoRange, who.Name, r.First, file)
		}
	}
	if owner, taken := r.Owner(known); taken {
		return fmt.Errorf("%w for %s: those from %d on have the id of %s", ErrNoRange, who.Name, r.First, owner)
	}
	return nil
}

// ParseRange reads one line of subuid(5) or subgid(5). ok is false for an invalid line,
// which shadow's own programs skip, too.
func ParseRange(line string) (name string, r Range, ok bool) {
	f := strings.Split(line, ":")
	if len(f) != 3 || f[0] == "" {
		return "", r, false
	}
	first, err := strconv.ParseUint(f[1], 10, 32)
	if err != nil {
		return "", r, false
	}
	count, err := strconv.ParseUint(f[2], 10, 32)
	// 4294967295 is no id, and 0 is root's.
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

// Owner returns a user or group whose id is in the range. known is passwd(5) or
// group(5): the id is the third field in both.
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
