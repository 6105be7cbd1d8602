package rule

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// A Caller is who asks, and the user database to read names with. A name that it does
// not know is nobody's.
type Caller struct {
	UID     uint32
	GIDs    []uint32 // primary and supplementary
	UserID  func(name string) (id uint32, known bool, err error)
	GroupID func(name string) (id uint32, known bool, err error)
}

// A Decision is what a caller may do with an image.
type Decision struct {
	Settings
	Rule
	// Unbound: the caller is root, whom rules give the defaults and forbid nothing.
	Unbound bool
}

// ErrDenied means that the policy does not let the caller use the image.
var ErrDenied = errors.New("not allowed by the policy")

// A reservation are the ids that a rule gives to a user.
type Reservation struct {
	First int
	User  string
	Place Place
}

// reserves refuses ids of which another rule gives some to another user.
func (r *Rule) Reserves(all []Reservation) error {
	for _, o := range all {
		if r.RootIDs != 0 && o.User != r.Users[0] && r.RootIDs < o.First+RootIDs && o.First < r.RootIDs+RootIDs {
			return fmt.Errorf("%s: root-ids are partly those of the rule at %s, for another user", r.Place(), o.Place)
		}
	}
	return nil
}

// clone copies a rule with its lists.
func (r *Rule) Clone() *Rule {
	c := *r
	for k := range keyCount {
		if list, ok := c.setting(k).(*[]string); ok {
			*list = slices.Clone(*list)
		}
	}
	return &c
}

// matches looks at the image first: most rules are for other ones, and names of users may
// have to be asked for.
func (r *Rule) Matches(image string, c Caller) (bool, error) {
	if !matchAny(r.Images, image) {
		return false, nil
	}
	if len(r.Users) == 0 && len(r.Groups) == 0 {
		return true, nil
	}
	for _, who := range r.Users {
		id, known, err := number(who, c.UserID)
		if err != nil || known && id == c.UID {
			return err == nil, err
		}
	}
	for _, who := range r.Groups {
		id, known, err := number(who, c.GroupID)
		if err != nil || known && slices.Contains(c.GIDs, id) {
			return err == nil, err
		}
	}
	return false, nil
}

// number reads a name or a number. 4294967295 is "no change" to the kernel, never an id.
func number(who string, find func(string) (uint32, bool, error)) (uint32, bool, error) {
	if id, err := strconv.ParseUint(who, 10, 32); err == nil {
		return uint32(id), id != 1<<32-1, nil
	}
	return find(who)
}

// Passes tells whether an environment variable passes into the container unasked.
func (r *Rule) Passes(name string) bool { return matchAny(r.Env, name) }
