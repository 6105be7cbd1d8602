package supervisor

import (
	"errors"

	"mayfly/mount"
	"mayfly/runtime/image"
	"mayfly/runtime/plan"
)

// replace puts the plan's files into the root file system. An image that is being
// changed gets its own ones back, see restore; in a session stays what somebody has changed
// there. The thread must act on files as root of it.
func (s *provision) replace(p *plan.Plan, img *image.Image) error {
	for _, f := range p.Root.Replace {
		r := &mount.Replacement{Name: f.Path, Content: f.Content, Link: f.Link, KeepOld: p.Root.Changes(), KeepChanged: p.Root.Kind == plan.RootSession}
		if err := mount.RootAt(s.tree.FD()).Put(r); err != nil {
			return err
		}
		if !r.KeepOld {
			continue
		}
		if err := mount.RootAt(img.FD()).Remember(r); err != nil {
			return err
		}
		s.replaced = append(s.replaced, r)
	}
	return nil
}

// restore takes the container's files out of an image that was changed: they are of this
// machine, and no part of it. Every process of the container must have ended.
func (s *provision) restore() error {
	var errs []error
	for _, r := range s.replaced {
		errs = append(errs, r.TakeBack())
	}
	return errors.Join(errs...)
}
