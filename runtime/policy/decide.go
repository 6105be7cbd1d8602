package policy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"mayfly/runtime/internal/realm"
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

// Decide reads the policy and finds the rule for a caller and an image. A policy that is
// in any place not in order decides nothing.
func Decide(image string, c Caller) (Decision, error) {
	if realm.Own() {
		return ownDecision(image, c), nil
	}
	return system.decide(image, c)
}

func (s source) decide(image string, c Caller) (Decision, error) {
	var found *Rule
	var reserved []reservation
	settings, err := s.read(func(r *Rule) error {
		if r.RootIDs != 0 {
			reserved = append(reserved, reservation{r.RootIDs, r.Users[0], r.Place()})
		}
		if found != nil {
			return nil
		}
		ok, err := r.matches(image, c)
		if err != nil {
			return fmt.Errorf("%s: %w", r.Place(), err)
		}
		if ok {
			found = r.clone()
		}
		return nil
	})
	if err == nil && found != nil {
		err = found.reserves(reserved)
	}
	d := Decision{Settings: settings, Unbound: c.UID == 0}
	switch {
	case err != nil:
		return Decision{}, err
	case d.Unbound && (found == nil || found.Deny):
		d.Rule = builtIn()
	case found == nil:
		return d, fmt.Errorf("image %s: %w: no rule in %s is for this image and you", image, ErrDenied, s.dir)
	case found.Deny:
		d.Rule = *found
		return d, fmt.Errorf("image %s: %w: the rule at %s says no", image, ErrDenied, found.Place())
	default:
		d.Rule = *found
	}
	return d, nil
}

// A reservation are the ids that a rule gives to a user.
type reservation struct {
	first int
	user  string
	place Place
}

// reserves refuses ids of which another rule gives some to another user.
func (r *Rule) reserves(all []reservation) error {
	for _, o := range all {
		if r.RootIDs != 0 && o.user != r.Users[0] && r.RootIDs < o.first+RootIDs && o.first < r.RootIDs+RootIDs {
			return fmt.Errorf("%s: root-ids are partly those of the rule at %s, for another user", r.Place(), o.place)
		}
	}
	return nil
}

// clone copies a rule with its lists.
func (r *Rule) clone() *Rule {
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
func (r *Rule) matches(image string, c Caller) (bool, error) {
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
