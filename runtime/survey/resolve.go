package survey

import (
	"fmt"

	"mayfly/runtime/access"
	"mayfly/runtime/here"
	"mayfly/runtime/image"
	"mayfly/runtime/plan"
)

// Resolve sets Image in a request that names a session. It must be called before
// anything else that looks at the request's image.
func Resolve(h here.Here, r *plan.Request) error {
	if r.Session == "" {
		return nil
	}
	if err := r.Exclusions(); err != nil {
		return err
	}
	if r.Image != "" {
		return fmt.Errorf("image %s and session %s: a session has its image already", r.Image, r.Session)
	}
	caller, err := access.CurrentCaller()
	if err != nil {
		return err
	}
	return access.WithStore(h, r.Store, func(s *image.Store) error {
		img, err := s.Session(caller.UID, r.Session)
		if err != nil {
			return err
		}
		r.Image = img.Reference.String()
		return img.Close()
	})
}
