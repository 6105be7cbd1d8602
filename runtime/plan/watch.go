package plan

// A Whose tells whose a path inside is.
type Whose int

// What a path inside can be of.
const (
	OfImage     Whose = iota // the root file system's
	OfHost                   // below a bind
	OfContainer              // the container's own: /proc, /dev, /tmp, small files
)

// WhoseIs tells whose a path inside is. It looks at names only.
func (p *Plan) WhoseIs(name string) Whose {
	whose, longest := OfImage, 0
	for _, m := range p.Spec.Mounts {
		if len(m.Destination) < longest || !Within(name, m.Destination) {
			continue
		}
		whose, longest = OfContainer, len(m.Destination)
		if m.Type == "bind" && !OnScratch(m.Destination) {
			whose = OfHost
		}
	}
	for _, f := range p.Files {
		if f.Path == name {
			return OfContainer
		}
	}
	return whose
}
