package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// An attack: systemd delegates a part of the hierarchy to each user's manager. A caller
// moves the container's PID 1 into a group there, freezes the group, and kills the
// supervisor. PID 1 then neither ends with the supervisor nor keeps the time limit.
//
// The defence: to move a process, a caller must be able to write to cgroup.procs of the
// new group and of the lowest group above both (cgroup_procs_write_permission in the
// kernel). So PID 1 is kept in a group of root's beside the caller's part. In cgroup v1
// only root can move PID 1, which runs as root. There a caller is refused who can
// freeze the group in which PID 1 starts.

// keepGroup is the group in parent for the PID 1 of such callers' containers.
const keepGroup = "init"

// Delegated returns whether the caller, the real user of the thread, may move processes
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
		return false, nil // without cgroup v2 there are no groups to move to
	}
	path, ok := groupOf("", string(groups))
	if !ok {
		return false, nil
	}
	return delegated(root, path, mayWrite), nil
}

// freezer is where all distributions mount the freezer controller of cgroup v1.
const freezer = "/sys/fs/cgroup/freezer"

// checkFreezer refuses a caller who can freeze their own group with cgroup v1.
func checkFreezer(groups string) error {
	path, ok := groupOf("freezer", groups)
	if !ok || !delegated(freezer, path, mayWrite) {
		return nil
	}
	if _, err := os.Stat(freezer); err != nil {
		return nil // it is not mounted
	}
	return fmt.Errorf("you can freeze your control group (%s%s), and with it undo the policy's limits of time and containers: start outside of it", freezer, path)
}

// mayWrite returns whether the real user may write to a file. access(2) checks the
// rights of the real user, without the thread's capabilities.
func mayWrite(name string) bool { return unix.Access(name, unix.W_OK) == nil }

// delegated returns whether the caller may write to a group or one above it. A group
// that is not visible here counts as writable.
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

// Keep moves a container's PID 1 to a group that the caller cannot change: the
// supervisor's group in systemd's scope, or else keepGroup. The thread must act on
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
