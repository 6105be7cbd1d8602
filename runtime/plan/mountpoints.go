package plan

import (
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// MadeInside tells whether a mount point lies on a file system of the container's own, where it is made.
func MadeInside(name string, r Request) bool {
	under := func(top string) bool { return strings.HasPrefix(name, top+"/") }
	return slices.ContainsFunc(ownMounts(0), func(m specs.Mount) bool { return under(m.Destination) }) ||
		slices.ContainsFunc(r.Tmpfs, func(t Tmpfs) bool { return under(t.Destination) })
}

// OnOwnMount tells whether a name is on a file system of the container's own, where
// there is nothing to hide.
func OnOwnMount(name string, r Request) bool {
	return MadeInside(name+"/", r)
}

// IsOwnMount tells whether every container has a file system of its own there.
func IsOwnMount(name string) bool {
	return slices.ContainsFunc(ownMounts(0), func(m specs.Mount) bool { return m.Destination == name })
}
