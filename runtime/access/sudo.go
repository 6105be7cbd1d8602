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

// BecomeSudoCaller makes a process that sudo(8) started as root one of the user who called
// sudo, with the capabilities of a launch: what a file capability would have made of it.
//
// It is the one place where the environment is believed: SUDO_UID and SUDO_GID are
// sudo's own words, which it puts over whatever the user had there. Nothing can be won
// by forging them, since only root gets this far, and it only takes away.
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

// sudoGroups finds the user's groups, which sudo has replaced by root's.
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

// unsudo makes the environment say who the caller is, where sudo has said that it is
// root: it passes into the container.
func unsudo(caller passwd.Entry) {
	for name, value := range map[string]string{"HOME": caller.Home, "USER": caller.Name, "LOGNAME": caller.Name, "SHELL": caller.Shell} {
		if _, set := os.LookupEnv(name); set {
			_ = os.Setenv(name, value) // fails for no name and no value of these
		}
	}
}
