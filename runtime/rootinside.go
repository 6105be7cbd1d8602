package runtime

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/nsexec"
	"mayfly/runtime/image"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/user"
	"mayfly/runtime/user/passwd"
)

// Root inside: the command is user 0 of a user namespace, whose ids are subordinate ones of the caller's on the host.
// Only the caller's own user and group are the same inside and outside, so that their files are theirs. All other
// namespaces stay the host's: being root there gives power over the files of the ids that are mapped, and over
// nothing else.

// rootIDs is how many ids there are inside, from 0 on.
const rootIDs = rule.RootIDs

// A rootInside is what is known of it before a plan is made.
type rootInside struct {
	UIDs, GIDs passwd.Range      // on the host
	IsCaller   bool              // root has the caller's own ids there, and the caller's inside are subordinate
	Root       passwd.Entry      // who root is in the image
	Lines      map[string]string // by file of the image: a line of the caller's that it lacks
	Content    map[string]string // the same files as a whole, with the line
}

// findRootInside finds the ids that the caller may use.
func (f *Facts) findRootInside(r Request, database *user.Database) error {
	f.RootInside = &rootInside{IsCaller: r.RootIsCaller}
	if f.Own && f.HasIDs { // they are the namespace's already
		return nil
	}
	if f.Policy.RootIDs != 0 && !f.Own {
		return f.reservedIDs(database)
	}
	var err error
	if f.RootInside.UIDs, err = database.Subordinate(passwd.SubUIDFile, f.User, rootIDs); err != nil {
		return fmt.Errorf("--root: %w", err)
	}
	if f.RootInside.GIDs, err = database.Subordinate(passwd.SubGIDFile, f.User, rootIDs); err != nil {
		return fmt.Errorf("--root: %w", err)
	}
	if f.Own {
		return fmt.Errorf("--root: %w: newuidmap and newgidmap are not installed: apt-get install uidmap", passwd.ErrNoRange)
	}
	if err := f.checkSources(database); err != nil {
		return fmt.Errorf("--root: %w", err)
	}
	return nil
}

// checkSources asks NSS whether the ids are somebody's.
func (f *Facts) checkSources(database *user.Database) error {
	err := database.CheckSources(passwd.SubUIDFile, f.User, f.RootInside.UIDs)
	if err == nil {
		err = database.CheckSources(passwd.SubGIDFile, f.User, f.RootInside.GIDs)
	}
	return err
}

// reservedIDs takes those of the policy.
func (f *Facts) reservedIDs(database *user.Database) error {
	ids := passwd.Range{First: uint32(f.Policy.RootIDs), Count: rootIDs}
	f.RootInside.UIDs, f.RootInside.GIDs = ids, ids
	err := errors.Join(database.CheckAlone(passwd.SubUIDFile, f.User, ids), database.CheckAlone(passwd.SubGIDFile, f.User, ids), f.checkSources(database))
	if err != nil {
		return fmt.Errorf("--root: root-ids of the rule at %s: %w", f.Policy.Place(), err)
	}
	return nil
}

// maxUserFile bounds what is read of an image's /etc/passwd or /etc/group, in bytes.
const maxUserFile = 1 << 20

// findUsers finds who root is in the image, and what tells the caller's name there. The host's own files, which other
// runs have inside, are not for root inside to change.
func (f *Facts) findUsers(inside mount.Root) error {
	r := f.RootInside
	r.Root = passwd.Entry{Name: "root", Home: "/root", Shell: plainShell}
	r.Lines, r.Content = map[string]string{}, map[string]string{}
	own, group := f.User, passwd.Entry{Name: f.User.Name, UID: f.User.GID, Line: fmt.Sprintf("%s:x:%d:", f.User.Name, f.User.GID)}
	own.Line = fmt.Sprintf("%s:*:%d:%d::%s:%s", own.Name, own.UID, own.GID, own.Home, own.Shell) // no password, not even in /etc/shadow
	for name, entry := range map[string]passwd.Entry{passwd.PasswdFile: own, passwd.GroupFile: group} {
		fd, err := inside.OpenRegular(name)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return fmt.Errorf("image's %s: %w", name, err)
		}
		text, err := file.ReadFD(fd, maxUserFile)
		unix.Close(fd)
		if err != nil {
			return fmt.Errorf("image's %s: %w", name, err)
		}
		database := &user.Database{Passwd: text}
		if root, listed := database.Listed(0); listed && name == passwd.PasswdFile {
			r.Root = root
		}
		if r.IsCaller || knows(string(text), entry.UID) {
			continue // or the caller is root, who has a line
		}
		r.Content[name] = string(passwd.Append(text, entry.Line))
		r.Lines[name] = strings.TrimPrefix(r.Content[name], string(text))
	}
	return nil
}

// knows tells whether passwd(5) or group(5) has a line of an id.
func knows(text string, id uint32) bool {
	_, known := passwd.Range{First: id, Count: 1}.Owner(text)
	return known
}

// runsAs is who the command is, inside.
func (f *Facts) runsAs() passwd.Entry {
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
		if !f.Own && m.Has(m.own) {
			return fmt.Errorf("--root: %w: your own %s id is among those from %d on", passwd.ErrNoRange, m.what, m.First)
		}
	}
	p.KeepGroups = f.keepsGroups()
	p.Spec.Linux.Namespaces = append(p.Spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	mappings := idMappings
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
	return !f.Own && f.Caller.UID != 0 && f.Policy.RootIDs != 0 && !f.Policy.DropGroups
}

// groups are those that the command has besides its own. Root inside has the group 0
// for its own: that of a caller who may give up none is one of the others.
func (p *Plan) groups(f Facts) []uint32 {
	if !p.KeepGroups || slices.Contains(f.Groups, f.User.GID) {
		return f.Groups
	}
	return append(slices.Clone(f.Groups), f.User.GID)
}

// rootInside tells whether the command is root of a user namespace.
func (p *Plan) rootInside() bool { return len(p.Spec.Linux.UIDMappings) > 0 }

// idMappings makes the ids inside subordinate ones from first on, but the caller's own, which is itself. Root's is not.
func idMappings(own, first uint32) []specs.LinuxIDMapping {
	mapped := func(inside, outside, n uint32) specs.LinuxIDMapping {
		return specs.LinuxIDMapping{ContainerID: inside, HostID: outside, Size: n}
	}
	if own == 0 {
		return []specs.LinuxIDMapping{mapped(0, first, rootIDs)}
	}
	below := min(own, rootIDs)
	list := []specs.LinuxIDMapping{mapped(0, first, below), mapped(own, own, 1)}
	if own+1 < rootIDs {
		list = append(list, mapped(own+1, first+own+1, rootIDs-own-1))
	}
	return list
}

// onHost is whose an id inside is on the host.
func onHost(list []specs.LinuxIDMapping, inside uint32) uint32 {
	for _, m := range list {
		if inside >= m.ContainerID && inside-m.ContainerID < m.Size {
			return m.HostID + inside - m.ContainerID
		}
	}
	return inside
}

// ttyGroup is that of terminals, in every Debian.
const ttyGroup = 5

// terminals are options that make them root's inside.
func (p *Plan) terminals() []string {
	if !p.rootInside() {
		return nil
	}
	linux := p.Spec.Linux
	return []string{fmt.Sprintf("uid=%d", onHost(linux.UIDMappings, 0)), fmt.Sprintf("gid=%d", onHost(linux.GIDMappings, ttyGroup))}
}

// userFiles has the image's users inside, and the caller among them: in the copy itself where it can be written to,
// for programs that add users put a new file in the old one's place.
func (p *Plan) userFiles(f Facts) {
	if p.Draft != "" {
		return // an image is nobody's
	}
	for _, name := range []string{passwd.PasswdFile, passwd.GroupFile} {
		switch line := f.RootInside.Lines[name]; {
		case line == "":
		case p.Spec.Root.Readonly:
			p.Files = append(p.Files, File{Path: name, Content: f.RootInside.Content[name]})
		default:
			p.Append = append(p.Append, File{Path: name, Content: line})
		}
	}
}

// makeUserNamespace makes the one that the command will be root of; nil, where it is to be no such root.
func makeUserNamespace(p *Plan) (*os.File, error) {
	if !p.rootInside() {
		return nil, nil
	}
	fd, err := nsexec.NewUserNamespace(idMaps(p.Spec.Linux.UIDMappings), idMaps(p.Spec.Linux.GIDMappings), p.KeepGroups, p.Own)
	if errors.Is(err, unix.ENOSPC) {
		err = fmt.Errorf("%w: this machine allows no more of them, see user.max_user_namespaces in sysctl", err)
	}
	if err != nil {
		return nil, fmt.Errorf("make a user namespace: %w", err)
	}
	return os.NewFile(uintptr(fd), "user namespace"), nil
}

// rootOnHost are the ids that root inside has on the host.
func (p *Plan) rootOnHost() (uid, gid int) {
	return int(onHost(p.Spec.Linux.UIDMappings, 0)), int(onHost(p.Spec.Linux.GIDMappings, 0))
}

// becomeRootInside makes the thread act on files as root inside: all that it makes from now on is theirs, and the root file
// system is put together for them as it is for root.
func (l *launch) becomeRootInside() error {
	if !l.plan.rootInside() {
		return nil
	}
	return nsexec.SetFSIDs(l.plan.rootOnHost())
}

// makeMapped mounts the root file system with root inside as the owner of root's files, and adds their lines to it as
// that one.
func (s *rootSource) makeMapped(p *Plan, store *image.Store, img *image.Image) error {
	uid, gid := p.rootOnHost()
	err := nsexec.ActOnFilesAs(uid, gid, rootNeeds(store))
	if err == nil {
		s.tree, err = s.mount(p, img)
	}
	if errors.Is(err, unix.EINVAL) {
		err = fmt.Errorf("%w: this kernel cannot map the owners of files there: of a store on BTRFS it can, of an overlay from Linux 6.13 on", err)
	}
	for _, f := range p.Append {
		if err == nil {
			err = mount.RootAt(s.tree.FD()).Append(f.Path, f.Content)
		}
	}
	if err == nil {
		err = s.replace(p, img)
	}
	return errors.Join(err, nsexec.ActOnFilesAsRoot(rootNeeds(store)))
}

// becomesRoot has a command enter the user namespace, and its working directory with the rights that it has there.
func (l *launch) becomesRoot(p *Plan, c *nsexec.Command) error {
	keep, err := capabilitySet(p.Spec.Process.Capabilities)
	if err != nil {
		return err
	}
	c.UserNamespace = &nsexec.UserNamespace{FD: int(l.root.userns.Fd()), Keep: keep}
	if !l.entered { // else it begins where the thread is
		c.Dirs, c.DirRequired = p.dirsToEnter(), p.DirRequired
	}
	return nil
}

func idMaps(list []specs.LinuxIDMapping) []nsexec.IDMap {
	var maps []nsexec.IDMap
	for _, m := range list {
		maps = append(maps, nsexec.IDMap{Inside: m.ContainerID, Outside: m.HostID, Count: m.Size})
	}
	return maps
}
