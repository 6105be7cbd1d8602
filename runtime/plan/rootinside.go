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

// A RootInside has the facts about root inside.
type RootInside struct {
	UIDs, GIDs passwd.Range // subordinate ids, on the host
	// IsCaller: see Request.RootIsCaller.
	IsCaller bool
	Root     passwd.Entry // the image's line for id 0
	// Lines are lines about the caller that files of the image lack, by the file's
	// path.
	Lines   map[string]string
	Content map[string]string // those files with that line
}

// RunsAs is the user that the command is inside.
func (f *Facts) RunsAs() passwd.Entry {
	if f.RootInside != nil {
		return f.RootInside.Root
	}
	return f.User
}

// root makes the command root of a user namespace, where the facts have root inside.
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
		mappings = swappedMappings
	}
	p.Spec.Linux.UIDMappings = mappings(f.User.UID, r.UIDs.First)
	p.Spec.Linux.GIDMappings = mappings(f.User.GID, r.GIDs.First)
	return nil
}

// keepsGroups decides whether setgroups(2) is denied to root inside. A file may be
// closed to a group and open to all others, so to leave the group is a right. subgid(5)
// gives it to the users that it names, as newgidmap(1) does; the policy's root-ids
// alone do not.
func (f *Facts) keepsGroups() bool {
	return !f.Rootless && f.Caller.UID != 0 && f.Policy.RootIDs != 0 && !f.Policy.DropGroups
}

// groups are the supplementary groups of the command. Root inside has group 0, so a
// caller whose groups are kept has their primary group among these.
func (p *Plan) groups(f Facts) []uint32 {
	if !p.KeepGroups || slices.Contains(f.Groups, f.User.GID) {
		return f.Groups
	}
	return append(slices.Clone(f.Groups), f.User.GID)
}

// RootInside tells whether the command is root of a user namespace.
func (p *Plan) RootInside() bool { return len(p.Spec.Linux.UIDMappings) > 0 }

// ttyGroup is the id of the group tty, in every Debian.
const ttyGroup = 5

// terminals are devpts options: the uid of root inside and the gid of the tty group,
// both as on the host.
func (p *Plan) devptsOptions() []string {
	if !p.RootInside() {
		return nil
	}
	linux := p.Spec.Linux
	return []string{fmt.Sprintf("uid=%d", onHost(linux.UIDMappings, 0)), fmt.Sprintf("gid=%d", onHost(linux.GIDMappings, ttyGroup))}
}

// userFiles adds the caller's lines to the image's passwd(5) and group(5). Where the
// root file system is writable they are appended to the files in it, and not mounted
// over them: programs that add users replace these files by rename(2).
func (p *Plan) userFiles(f Facts) {
	if p.Root.Kind == RootDraft {
		return // a draft gets no line of the caller's
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

// RootOnHost returns the ids that root inside has on the host.
func (p *Plan) RootOnHost() (uid, gid int) {
	return int(onHost(p.Spec.Linux.UIDMappings, 0)), int(onHost(p.Spec.Linux.GIDMappings, 0))
}
