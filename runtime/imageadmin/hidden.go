package imageadmin

import (
	"fmt"

	"mayfly/mount"
	"mayfly/runtime/access"
	"mayfly/runtime/here"
	"mayfly/runtime/image"
	"mayfly/runtime/policy"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/survey"
	"mayfly/runtime/user"
)

// Hidden tells what an image of the store has in directories over which the policy
// binds the host's, for root. The thread must be allowed to open the store.
func Hidden(h here.Here, s *image.Store, name string) ([]string, error) {
	database, err := user.Load(h)
	if err != nil {
		return nil, fmt.Errorf("read user database: %w", err)
	}
	d, err := policy.Decide(h, name, access.PolicyCaller(0, []uint32{0}, database))
	if err != nil {
		return nil, err
	}
	img, err := s.Image(name)
	if err != nil {
		return nil, err
	}
	defer img.Close()
	return survey.Hidden(mount.RootAt(img.FD()), d), nil
}

// HiddenBy is the same for a decision. Who may not look into the store is told nothing.
func HiddenBy(h here.Here, d rule.Decision, name string) (list []string) {
	_ = access.WithStore(h, "", func(s *image.Store) error {
		img, err := s.Image(name)
		if err == nil {
			list = survey.Hidden(mount.RootAt(img.FD()), d)
			err = img.Close()
		}
		return err
	})
	return list
}
