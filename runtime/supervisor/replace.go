package supervisor

import (
	"errors"

	"mayfly/mount"
	"mayfly/runtime/image"
	"mayfly/runtime/plan"
)

// replace puts the plan's files into the root file system. In an image that is being
// changed the image's own files are kept beside them, for restore. In a session a file
// that somebody has changed there stays. The thread must act on files as root of the
// root file system.
func (s *provision) replace(p *plan.Plan, img *image.Image) error {
	for _, f := range p.Root.Replace {
		r := &mount.Replacement{Name: f.Path, Content: f.Content, Link: f.Link, KeepOld: p.Root.Changes(), KeepChanged: p.Root.Kind == plan.RootSession}
		if err := mount.RootAt(s.mounts.Tree.FD()).Put(r); err != nil {
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

// restore puts the image's own files back after an image was changed: those of the
// container belong to this machine. Every process of the container must have ended.
func (s *provision) restore() error {
	var errs []error
	for _, r := range s.replaced {
		errs = append(errs, r.TakeBack())
	}
	return errors.Join(errs...)
}
