package survey

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/plan"
	"mayfly/runtime/user"
	"mayfly/runtime/user/passwd"
)

// findRootInside finds the subordinate ids for root inside: those of the policy's rule,
// else those of subuid(5) and subgid(5).
func (f *finder) findRootInside(r plan.Request, database *user.Database) error {
	f.RootInside = &plan.RootInside{IsCaller: r.RootIsCaller}
	if f.Rootless && f.HasIDs { // the namespace has them already
		return nil
	}
	if f.Policy.RootIDs != 0 && !f.Rootless {
		return f.reservedIDs(database)
	}
	var err error
	if f.RootInside.UIDs, err = database.Subordinate(passwd.SubUIDFile, f.User, plan.RootIDs); err != nil {
		return fmt.Errorf("--root: %w", err)
	}
	if f.RootInside.GIDs, err = database.Subordinate(passwd.SubGIDFile, f.User, plan.RootIDs); err != nil {
		return fmt.Errorf("--root: %w", err)
	}
	if f.Rootless {
		return fmt.Errorf("--root: %w: newuidmap and newgidmap are not installed: apt-get install uidmap", passwd.ErrNoRange)
	}
	if err := f.checkSources(database); err != nil {
		return fmt.Errorf("--root: %w", err)
	}
	return nil
}

// checkSources asks the name service whether some of the ids belong to a user or group.
func (f *finder) checkSources(database *user.Database) error {
	err := database.CheckSources(passwd.SubUIDFile, f.User, f.RootInside.UIDs)
	if err == nil {
		err = database.CheckSources(passwd.SubGIDFile, f.User, f.RootInside.GIDs)
	}
	return err
}

// reservedIDs takes the ids of the policy's rule (root-ids), if they belong to nobody
// else.
func (f *finder) reservedIDs(database *user.Database) error {
	ids := passwd.Range{First: uint32(f.Policy.RootIDs), Count: plan.RootIDs}
	f.RootInside.UIDs, f.RootInside.GIDs = ids, ids
	err := errors.Join(database.CheckAlone(passwd.SubUIDFile, f.User, ids), database.CheckAlone(passwd.SubGIDFile, f.User, ids), f.checkSources(database))
	if err != nil {
		return fmt.Errorf("--root: root-ids of the rule at %s: %w", f.Policy.Place(), err)
	}
	return nil
}

// maxUserFile bounds what is read of an image's /etc/passwd or /etc/group, in bytes.
const maxUserFile = 1 << 20

// findUsers finds who root is in the image, and the lines that tell the caller's name
// there. The image's own files are used: the host's are shared with other containers,
// and root inside must not change them.
func (f *finder) findUsers(inside mount.Root) error {
	r := f.RootInside
	r.Root = passwd.Entry{Name: "root", Home: "/root", Shell: plan.PlainShell}
	r.Lines, r.Content = map[string]string{}, map[string]string{}
	own, group := f.User, passwd.Entry{Name: f.User.Name, UID: f.User.GID, Line: fmt.Sprintf("%s:x:%d:", f.User.Name, f.User.GID)}
	// The "*" means: no password, and none in /etc/shadow.
	own.Line = fmt.Sprintf("%s:*:%d:%d::%s:%s", own.Name, own.UID, own.GID, own.Home, own.Shell)
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
			continue // root, who has a line; or the caller has one
		}
		r.Content[name] = string(passwd.Append(text, entry.Line))
		r.Lines[name] = strings.TrimPrefix(r.Content[name], string(text))
	}
	return nil
}

// knows tells whether a text of passwd(5) or group(5) has a line of an id.
func knows(text string, id uint32) bool {
	_, known := passwd.Range{First: id, Count: 1}.Owner(text)
	return known
}
