package policy

import (
	"fmt"

	"mayfly/runtime/here"
	"mayfly/runtime/policy/rule"
)

// Decide reads the policy and finds the rule for a caller and an image. If the policy
// has a mistake anywhere, it returns an error.
func Decide(h here.Here, image string, c rule.Caller) (rule.Decision, error) {
	if h.Rootless() {
		return ownDecision(h, image, c), nil
	}
	return system.decide(image, c)
}

func (s source) decide(image string, c rule.Caller) (rule.Decision, error) {
	var found *rule.Rule
	var reserved []rule.Reservation
	settings, err := s.read(func(r *rule.Rule) error {
		if r.RootIDs != 0 {
			reserved = append(reserved, rule.Reservation{First: r.RootIDs, User: r.Users[0], Place: r.Place()})
		}
		if found != nil {
			return nil
		}
		ok, err := r.Matches(image, c)
		if err != nil {
			return fmt.Errorf("%s: %w", r.Place(), err)
		}
		if ok {
			found = r.Clone()
		}
		return nil
	})
	if err == nil && found != nil {
		err = found.Reserves(reserved)
	}
	d := rule.Decision{Settings: settings, Unbound: c.UID == 0}
	switch {
	case err != nil:
		return rule.Decision{}, err
	case d.Unbound && (found == nil || found.Deny):
		d.Rule = rule.BuiltIn()
	case found == nil:
		return d, fmt.Errorf("image %s: %w: no rule in %s matches this image and you", image, rule.ErrDenied, s.dir)
	case found.Deny:
		d.Rule = *found
		return d, fmt.Errorf("image %s: %w: %s denies it", image, rule.ErrDenied, found.Place())
	default:
		d.Rule = *found
	}
	return d, nil
}
