package plan

import (
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"mayfly/runtime/policy/rule"
	"mayfly/runtime/user/passwd"
)

// RootIDs is how many ids there are inside, from 0 on.
const RootIDs = rule.RootIDs

// A RootInside is what is known of it before a plan is made.
type RootInside struct {
	UIDs, GIDs passwd.Range      // on the host
	IsCaller   bool              // root has the caller's own ids there, and the caller's inside are subordinate
	Root       passwd.Entry      // who root is in the image
	Lines      map[string]string // by file of the image: a line of the caller's that it lacks
	Content    map[string]string // the same files as a whole, with the line
}

// RunsAs is who the command is, inside.
func (f *Facts) RunsAs() passwd.Entry {
	if f.RootInside != nil {
		return f.RootInside.Root
	}
	return f.User
}

// root makes the plan's command root of a user namespace.
func (p *Plan) root(f Facts) error {
	r := f.RootInside
	if r == nil {
		return nil
	}
	for _, m := range []struct {
		what string
		own  uint32
		passwd.Range
	}{{"user", f.User.UID, r.UIDs}, {"group", f.User.GID, r.GIDs}} {
		if !f.Rootless && m.Has(m.own) {
			return fmt.Errorf("--root: %w: your own %s id is among those from %d on", passwd.ErrNoRange, m.what, m.First)
		}
	}
	p.KeepGroups = f.keepsGroups()
	p.Spec.Linux.Namespaces = append(p.Spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	mappings := IdMappings
	if r.IsCaller {
		mappings = changedPlaces
	}
	p.Spec.Linux.UIDMappings = mappings(f.User.UID, r.UIDs.First)
	p.Spec.Linux.GIDMappings = mappings(f.User.GID, r.GIDs.First)
	return nil
}

// keepsGroups decides whether root inside is kept from giving up the caller's groups.
// subgid(5) lets whom it names, as newgidmap(1) does; ids of the policy's alone do not,
// since a file may be closed to a group and open to all others.
func (f *Facts) keepsGroups() bool {
	return !f.Rootless && f.Caller.UID != 0 && f.Policy.RootIDs != 0 && !f.Policy.DropGroups
}

// groups are those that the command has besides its own. Root inside has the group 0
// for its own: that of a caller who may give up none is one of the others.
func (p *Plan) groups(f Facts) []uint32 {
	if !p.KeepGroups || slices.Contains(f.Groups, f.User.GID) {
		return f.Groups
	}
	return append(slices.Clone(f.Groups), f.User.GID)
}

// RootInside tells whether the command is root of a user namespace.
func (p *Plan) RootInside() bool { return len(p.Spec.Linux.UIDMappings) > 0 }

// ttyGroup is that of terminals, in every Debian.
const ttyGroup = 5

// terminals are options that make them root's inside.
func (p *Plan) terminals() []string {
	if !p.RootInside() {
		return nil
	}
	linux := p.Spec.Linux
	return []string{fmt.Sprintf("uid=%d", onHost(linux.UIDMappings, 0)), fmt.Sprintf("gid=%d", onHost(linux.GIDMappings, ttyGroup))}
}

// userFiles has the image's users inside, and the caller among them: in the copy itself where it can be written to,
// for programs that add users put a new file in the old one's place.
func (p *Plan) userFiles(f Facts) {
	if p.Root.Kind == RootDraft {
		return // an image is nobody's
	}
	for _, name := range []string{passwd.PasswdFile, passwd.GroupFile} {
		switch line := f.RootInside.Lines[name]; {
		case line == "":
		case p.Spec.Root.Readonly:
			p.Files = append(p.Files, File{Path: name, Content: f.RootInside.Content[name]})
		default:
			p.Root.Append = append(p.Root.Append, File{Path: name, Content: line})
		}
	}
}

// RootOnHost are the ids that root inside has on the host.
func (p *Plan) RootOnHost() (uid, gid int) {
	return int(onHost(p.Spec.Linux.UIDMappings, 0)), int(onHost(p.Spec.Linux.GIDMappings, 0))
}
