package imageadmin

import (
	"errors"
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

// Hidden returns the directories of an image that the policy's binds hide from root
// (see survey.Hidden). The thread must be able to read the store.
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

// HiddenBy returns them for a decision of the policy. It returns nothing if the caller
// may not read the store; the error wraps image.ErrUnknown if there is no such image.
func HiddenBy(h here.Here, d rule.Decision, name string) (list []string, err error) {
	err = access.WithStore(h, "", func(s *image.Store) error {
		img, err := s.Image(name)
		if err == nil {
			list = survey.Hidden(mount.RootAt(img.FD()), d)
			err = img.Close()
		}
		return err
	})
	if !errors.Is(err, image.ErrUnknown) {
		err = nil
	}
	return list, err
}
