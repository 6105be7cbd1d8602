package access

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/here"
	"mayfly/runtime/privilege"
	"mayfly/runtime/user"
	"mayfly/runtime/user/passwd"
)

// BecomeSudoCaller gives a process that sudo(8) started as root the ids and groups of
// the user who called sudo, with GrantCapabilities permitted: the state that file
// capabilities would have given. It acts on the whole process.
//
// The environment is believed here: sudo sets SUDO_UID and SUDO_GID itself, over what
// the user had there. To forge them wins nothing: only root gets this far, and the
// function only takes rights away.
func BecomeSudoCaller(h here.Here) error {
	if unix.Getuid() != 0 {
		return errors.New("as-caller is for a line in sudoers: `runtime grant --sudo` prints it")
	}
	uid, err := sudoID("SUDO_UID")
	if err != nil {
		return err
	}
	gid, err := sudoID("SUDO_GID")
	if err != nil {
		return err
	}
	if uid == 0 {
		return errors.New("as-caller: the caller is root, who needs no such thing")
	}
	database, err := user.Load(h)
	if err != nil {
		return fmt.Errorf("read user database: %w", err)
	}
	entry, _, err := database.ByID(uid)
	known := err == nil
	if err != nil && !errors.Is(err, passwd.ErrUnknown) {
		return err
	}
	groups, err := sudoGroups(database, entry, known, gid)
	if err != nil {
		return err
	}
	if known {
		unsudo(entry)
	}
	if err := nsexec.SettleProcess(int(uid), int(gid), groups, privilege.GrantCapabilities); err != nil {
		return fmt.Errorf("become user %d: %w", uid, err)
	}
	return nil
}

func sudoID(name string) (uint32, error) {
	id, err := strconv.ParseUint(os.Getenv(name), 10, 32)
	if err != nil || id == 1<<32-1 { // (uid_t)-1 means "no change" to the kernel
		return 0, fmt.Errorf("%s is %q: as-caller is to be started by sudo", name, os.Getenv(name))
	}
	return uint32(id), nil
}

// sudoGroups finds the user's groups in the database, since sudo has replaced them by
// root's.
func sudoGroups(database *user.Database, entry passwd.Entry, known bool, gid uint32) ([]int, error) {
	groups := []int{int(gid)}
	if !known {
		return groups, nil
	}
	entry.GID = gid
	all, err := database.Groups(entry)
	if err != nil {
		return nil, err
	}
	groups = groups[:0]
	for _, g := range all {
		groups = append(groups, int(g))
	}
	return groups, nil
}

// unsudo sets HOME, USER, LOGNAME and SHELL to the caller's, where sudo has set them to
// root's: they pass into the container.
func unsudo(caller passwd.Entry) {
	for name, value := range map[string]string{"HOME": caller.Home, "USER": caller.Name, "LOGNAME": caller.Name, "SHELL": caller.Shell} {
		if _, set := os.LookupEnv(name); set {
			_ = os.Setenv(name, value) // cannot fail for these names and values
		}
	}
}
