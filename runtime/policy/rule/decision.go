package rule

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// A Caller is a user to decide for, with functions that look up names in the user
// database. known is false for a name that it does not have: then no user has it.
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
	// Unbound: the caller is root. Rules give root defaults, and forbid nothing.
	Unbound bool
}

// ErrDenied means that the policy does not let the caller do something.
var ErrDenied = errors.New("not allowed by the policy")

// A Reservation is the range of RootIDs ids that a rule reserves for a user.
type Reservation struct {
	First int
	User  string
	Place Place
}

// Reserves returns an error if another user's reservation has some of the rule's
// RootIDs.
func (r *Rule) Reserves(all []Reservation) error {
	for _, o := range all {
		if r.RootIDs != 0 && o.User != r.Users[0] && r.RootIDs < o.First+RootIDs && o.First < r.RootIDs+RootIDs {
			return fmt.Errorf("%s: root-ids overlap those at %s, which are another user's", r.Place(), o.Place)
		}
	}
	return nil
}

// Clone copies a rule with its lists.
func (r *Rule) Clone() *Rule {
	c := *r
	for k := range keyCount {
		if list, ok := c.setting(k).(*[]string); ok {
			*list = slices.Clone(*list)
		}
	}
	return &c
}

// Matches tells whether the rule is for an image and a caller. It compares the image
// first: most rules are for other images, and to look up names of users may take long.
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

// number returns an id for a name or a number. 4294967295 is "no change" to the kernel,
// and never an id.
func number(who string, find func(string) (uint32, bool, error)) (uint32, bool, error) {
	if id, err := strconv.ParseUint(who, 10, 32); err == nil {
		return uint32(id), id != 1<<32-1, nil
	}
	return find(who)
}

// Passes tells whether an environment variable passes into the container by default.
func (r *Rule) Passes(name string) bool { return matchAny(r.Env, name) }
