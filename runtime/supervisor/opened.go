package supervisor

import (
	"mayfly/runtime/inputs"
	"mayfly/runtime/plan"
	"mayfly/runtime/privilege"
)

// tellOpened hands over what was opened, with the packages that own the image's files.
func (s *supervisor) tellOpened(r inputs.Record) {
	o := inputs.Opened{Record: r, Of: map[string]plan.Whose{}}
	for path := range r.Files {
		o.Of[path] = s.Plan.WhoseIs(path)
	}
	err := privilege.AsRoot(s.Here, privilege.None, func() error {
		packages, err := s.image.Packages()
		if err != nil {
			return err
		}
		o.Installed = len(packages)
		o.Packages, err = s.image.Owners(func(path string) bool {
			_, opened := r.Files[path]
			return opened && o.Of[path] == plan.OfImage
		})
		return err
	})
	if err != nil { // an image may have anything there
		o.Missed = append(o.Missed, "packages: "+err.Error())
	}
	s.opened(o)
}
