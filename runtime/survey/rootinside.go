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

// findRootInside finds the ids that the caller may use.
func (f *finder) findRootInside(r plan.Request, database *user.Database) error {
	f.RootInside = &plan.RootInside{IsCaller: r.RootIsCaller}
	if f.Rootless && f.HasIDs { // they are the namespace's already
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

// checkSources asks NSS whether the ids are somebody's.
func (f *finder) checkSources(database *user.Database) error {
	err := database.CheckSources(passwd.SubUIDFile, f.User, f.RootInside.UIDs)
	if err == nil {
		err = database.CheckSources(passwd.SubGIDFile, f.User, f.RootInside.GIDs)
	}
	return err
}

// reservedIDs takes those of the policy.
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

// findUsers finds who root is in the image, and what tells the caller's name there. The host's own files, which other
// runs have inside, are not for root inside to change.
func (f *finder) findUsers(inside mount.Root) error {
	r := f.RootInside
	r.Root = passwd.Entry{Name: "root", Home: "/root", Shell: plan.PlainShell}
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
