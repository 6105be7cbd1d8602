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

// A Range is a run of ids that belong to no user of the host.
type Range struct{ First, Count uint32 }

// ErrNoRange means that a user has no subordinate ids that would do.
var ErrNoRange = errors.New("no subordinate ids")

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

// parseRange reads one line of subuid(5). What is none is passed over, as shadow's own programs do.
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
