package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Keeping: a caller who may move processes within a part of the hierarchy (a delegated
// one, as systemd gives to each user's manager) can move a container's PID 1 into a
// group of theirs, freeze that, and kill the supervisor: PID 1 would neither end with
// it nor see the time pass. To move a process takes the right to write to cgroup.procs
// of the group that it goes to and of the lowest group above both
// (cgroup_procs_write_permission in the kernel), so a process that is in a group of
// root's beside the caller's part stays there. In version 1 nobody but root moves a
// process of root's, as PID 1 is: a caller who can freeze the group in which it is born
// is refused.

// keepGroup is the group, below the parent of those that are made directly, in which PID 1 of
// such a caller's container is.
const keepGroup = "init"

// Delegated tells whether the caller, who is the real user of the thread, may move processes
// in or above the group of this process.
func Delegated() (bool, error) {
	groups, err := os.ReadFile(ownGroups)
	if err != nil {
		return false, err
	}
	if err := checkFreezer(string(groups)); err != nil {
		return false, err
	}
	root, err := Hierarchy()
	if err != nil {
		return false, nil // then there is nothing to be moved to
	}
	path, ok := groupOf("", string(groups))
	if !ok {
		return false, nil
	}
	return delegated(root, path, mayWrite), nil
}

// freezer is where version 1 freezes groups, by the custom of all distributions.
const freezer = "/sys/fs/cgroup/freezer"

// checkFreezer refuses a caller who can freeze their own group by version 1.
func checkFreezer(groups string) error {
	path, ok := groupOf("freezer", groups)
	if !ok || !delegated(freezer, path, mayWrite) {
		return nil
	}
	if _, err := os.Stat(freezer); err != nil {
		return nil // it is mounted nowhere
	}
	return fmt.Errorf("you can freeze your control group (%s%s), and with it undo the policy's limits of time and containers: start outside of it", freezer, path)
}

// mayWrite tells whether the real user may write to a file. access(2) asks for them, with none
// of the thread's capabilities.
func mayWrite(name string) bool { return unix.Access(name, unix.W_OK) == nil }

// delegated looks at a group and all above it. What cannot be seen from here is taken for theirs.
func delegated(root, path string, may func(name string) bool) bool {
	if !isSeen(path) {
		return true
	}
	for path = filepath.Clean(path); ; path = filepath.Dir(path) {
		if may(filepath.Join(root, path, "cgroup.procs")) {
			return true
		}
		if path == "/" {
			return false
		}
	}
}

// Keep moves a process, PID 1 of a container, out of its caller's reach: beside the supervisor
// where there is a group of systemd's, else to a group for all of them. The thread must act on
// files as root.
func Keep(g *Group, pid int) error {
	directory, err := keepDirectory(g)
	if err == nil {
		err = write(filepath.Join(directory, "cgroup.procs"), strconv.Itoa(pid))
	}
	if err != nil {
		return fmt.Errorf("keep PID 1 out of your control groups, from where the policy's limits could be undone: %w", err)
	}
	return nil
}

func keepDirectory(g *Group) (string, error) {
	if g != nil && g.scope != "" {
		return filepath.Join(g.scope, "supervisor"), nil
	}
	root, err := Hierarchy()
	if err != nil {
		return "", err
	}
	if err := Prepare(); err != nil {
		return "", fmt.Errorf("%w; root makes the group with `runtime gc` or `runtime store mount`, at every boot", err)
	}
	directory := filepath.Join(root, parent, keepGroup)
	if err := unix.Mkdir(directory, 0o755); err != nil && err != unix.EEXIST {
		return "", &os.PathError{Op: "mkdir", Path: directory, Err: err}
	}
	return directory, nil
}
