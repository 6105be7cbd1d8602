package rootless

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/caller"
	"mayfly/runtime/here"
	"mayfly/runtime/plan"
	"mayfly/runtime/privilege"
	"mayfly/runtime/user"
	"mayfly/runtime/user/passwd"
)

// mapIDs maps ids into the user namespace and returns who the caller is. With
// subordinate ids newuidmap and newgidmap map all that a system has. Without them the
// caller's own id is the only one; it is mapped as root's with asRoot.
func (b *Bootstrap) mapIDs(h here.Here, asRoot bool) (who passwd.Entry, err error) {
	database, err := user.Load(h)
	if err != nil {
		return who, fmt.Errorf("read user database: %w", err)
	}
	who = EntryOf(database, caller.Caller{UID: b.UID, GID: b.GID})
	commands, err := MapperCommands(database, who)
	switch {
	case errors.Is(err, passwd.ErrNoRange), errors.Is(err, os.ErrNotExist):
		return who, errors.Join(b.dismiss(), mapOne(who, asRoot))
	case err == nil && here.GrantIgnored() == here.ErrNoNewPrivileges:
		err = fmt.Errorf("%w: %w", privilege.ErrNoPrivilege, ErrNoMappers())
	}
	if err != nil {
		return who, errors.Join(err, b.dismiss())
	}
	if err := SameGroup(database, who); err != nil {
		return who, errors.Join(b.dismiss(), err)
	}
	for i, m := range b.Mappers {
		err := b.tell(m, commands[i])
		unix.Close(m.Line)
		if err != nil {
			return who, err
		}
	}
	var errs []error
	for i, m := range b.Mappers {
		if err := m.wait(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", strings.Join(commands[i], " "), err))
		}
	}
	return who, errors.Join(errs...)
}

// ErrNoMappers returns an error that means that no_new_privs keeps newuidmap and
// newgidmap from having an effect. The caller has subordinate ids, and their images
// need them: a single id would be of no use.
func ErrNoMappers() error {
	return fmt.Errorf("%w, nor newuidmap and newgidmap, which give a user namespace your subordinate ids", here.ErrNoNewPrivileges)
}

// EntryOf returns the caller's entry in the user database, or a made-up one for a
// caller who is not in it. The group is the caller's current one.
func EntryOf(database *user.Database, c caller.Caller) passwd.Entry {
	who, _, err := database.ByID(c.UID)
	if err != nil {
		who = passwd.Nameless(c.UID, c.GID)
	}
	who.GID = c.GID
	return who
}

// SameGroup refuses a caller whose group is not their group in the user database, as
// after newgrp(1). newuidmap(1) and newgidmap(1) would refuse it too, and say that the
// process is somebody else's.
func SameGroup(database *user.Database, who passwd.Entry) error {
	entry, _, err := database.ByID(who.UID)
	if err != nil || entry.GID == who.GID {
		return nil
	}
	name := func(gid uint32) string {
		if name, known := database.GroupName(gid); known {
			return name
		}
		return strconv.FormatUint(uint64(gid), 10)
	}
	own := name(entry.GID)
	return fmt.Errorf("your group is %s now, by newgrp or sg, and your subordinate ids are for %s:%s only: `sg %s -c 'runtime ...'`, or leave the shell that newgrp started",
		name(who.GID), who.Name, own, own)
}

// MapperCommands returns the command lines of newuidmap(1) and newgidmap(1) for this
// process. The two programs are privileged, and check that the ids are the caller's.
// The error wraps passwd.ErrNoRange where the caller has no subordinate ids, and
// os.ErrNotExist where the programs are not installed.
func MapperCommands(database *user.Database, who passwd.Entry) (commands [2][]string, err error) {
	for i, c := range []struct {
		program, file string
		own           uint32
	}{{"newuidmap", passwd.SubUIDFile, who.UID}, {"newgidmap", passwd.SubGIDFile, who.GID}} {
		ids, err := database.Subordinate(c.file, who, plan.RootIDs)
		if err != nil {
			return commands, err
		}
		path, err := findProgram(c.program)
		if err != nil {
			return commands, err
		}
		command := []string{path, strconv.Itoa(os.Getpid())}
		for _, m := range plan.IdMappings(c.own, ids.First) {
			command = append(command, fmt.Sprint(m.ContainerID), fmt.Sprint(m.HostID), fmt.Sprint(m.Size))
		}
		commands[i] = command
	}
	return commands, nil
}

// findProgram finds an executable file in the directories of PATH. (Package exec would
// start it as a child of this process; the mapper executes it.)
func findProgram(name string) (string, error) {
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		path := filepath.Join(dir, name)
		if filepath.IsAbs(path) && unix.Access(path, unix.X_OK) == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, os.ErrNotExist)
}

// tell sends a mapper the command to execute. Block is used for both in turn: what the
// first mapper was told is in its pipe by then, or has been read.
func (b *Bootstrap) tell(m Mapper, command []string) error {
	block, err := nsexec.ArgumentBlock(b.Block, command)
	if err == nil {
		_, err = unix.Write(m.Line, block)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", command[0], err)
	}
	return nil
}

// wait waits until the mapper's command has ended. The command itself writes to
// standard error what is wrong.
func (m Mapper) wait() error {
	var ws unix.WaitStatus
	_, err := unix.Wait4(m.PID, &ws, 0, nil)
	for err == unix.EINTR {
		_, err = unix.Wait4(m.PID, &ws, 0, nil)
	}
	if err == nil && ws != 0 {
		err = errors.New("has failed: are the ids in /etc/subuid and /etc/subgid yours, and is the program privileged?")
	}
	return err
}

// dismiss ends the mappers, by closing both lines, and waits for them. Both are closed
// before that, since the second mapper has a copy of the first line.
func (b *Bootstrap) dismiss() error {
	for _, m := range b.Mappers {
		unix.Close(m.Line)
	}
	for _, m := range b.Mappers {
		if err := m.wait(); err != nil {
			return fmt.Errorf("process outside of the user namespace: %w", err)
		}
	}
	return nil
}

// mapOne maps a single user and group id. The kernel wants setgroups(2) denied first:
// otherwise a process inside could leave a group, which may be one that is denied a
// file.
func mapOne(who passwd.Entry, asRoot bool) error {
	line := func(id uint32) string {
		if asRoot {
			return fmt.Sprintln(0, id, 1)
		}
		return fmt.Sprintln(id, id, 1)
	}
	for _, f := range [][2]string{{"setgroups", "deny"}, {"uid_map", line(who.UID)}, {"gid_map", line(who.GID)}} {
		if err := os.WriteFile("/proc/self/"+f[0], []byte(f[1]), 0); err != nil {
			return fmt.Errorf("give ids to a user namespace: %w", err)
		}
	}
	return nil
}

// ownDirectory returns the directory for the caller's own images and records, with
// links resolved. It is made if it is missing.
func ownDirectory(who passwd.Entry) (string, error) {
	above := os.Getenv("XDG_DATA_HOME")
	if !filepath.IsAbs(above) {
		above = filepath.Join(who.Home, ".local/share")
	}
	directory := filepath.Join(above, "mayfly")
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return "", fmt.Errorf("directory for your own images: %w; XDG_DATA_HOME names another place", err)
	}
	return filepath.EvalSymlinks(directory)
}
