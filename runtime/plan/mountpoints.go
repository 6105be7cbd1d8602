package plan

import (
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// MadeInside tells whether a mount point lies in a file system of the container's own,
// in which it can be made.
func MadeInside(name string, r Request) bool {
	under := func(top string) bool { return strings.HasPrefix(name, top+"/") }
	return slices.ContainsFunc(ownMounts(0), func(m specs.Mount) bool { return under(m.Destination) }) ||
		slices.ContainsFunc(r.Tmpfs, func(t Tmpfs) bool { return under(t.Destination) })
}

// OnOwnMount tells whether a name is, or is in, a file system of the container's own,
// where no file of the image's is hidden.
func OnOwnMount(name string, r Request) bool {
	return MadeInside(name+"/", r)
}

// IsOwnMount tells whether every container has a file system of its own mounted on the
// name.
func IsOwnMount(name string) bool {
	return slices.ContainsFunc(ownMounts(0), func(m specs.Mount) bool { return m.Destination == name })
}
