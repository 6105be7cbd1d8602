// Package cgroup bounds what the processes of a container use together, and measures it: a control group of
// version 2 for each container that needs one, made by way of systemd where that runs, and directly elsewhere.
//
// The group's directory is root's. Commands are born in it (clone3(2), CLONE_INTO_CGROUP, since Linux 5.7); the
// supervisor and the container's PID 1, which share their memory, stay outside: whatever happens to the container
// for want of memory does not happen to them.
package cgroup

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/internal/host"
)

// ErrMissing means that this machine cannot do what is asked for.
var ErrMissing = errors.New("control groups (cgroup v2) cannot do this here")

// parent is the directory, below the hierarchy's root, of the groups that are made directly.
const parent = "mayfly"

// A Group is a container's control group. Its holder must Remove it.
type Group struct {
	path  string // of the directory that the container's processes are in
	fd    int    // of the same
	scope string // unit of systemd's that it is in, and the directory above; "": made directly
}

// mounts are where version 2 can be: alone, or beside version 1.
var mounts = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}

// Hierarchy is where version 2 is mounted.
func Hierarchy() (string, error) {
	for _, place := range mounts {
		var fs unix.Statfs_t
		if unix.Statfs(place, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
			return place, nil
		}
	}
	return "", fmt.Errorf("%w: it is not mounted at %s", ErrMissing, mounts[0])
}

// Controllers are what version 2 can bound: "memory", "pids", "cpu", "io". What version 1 has taken is not there.
func Controllers() ([]string, error) {
	root, err := Hierarchy()
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(data)), nil
}

// needed are the controllers of settings, whose names begin with them.
func needed(settings map[string]string) []string {
	var list []string
	for key := range settings {
		controller, _, _ := strings.Cut(key, ".")
		list = append(list, controller)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Check tells whether the settings can be kept on this machine.
func Check(settings map[string]string) error {
	have, err := Controllers()
	if err != nil {
		return err
	}
	var missing []string
	for _, c := range needed(settings) {
		if !slices.Contains(have, c) {
			missing = append(missing, c)
		}
	}
	if missing == nil {
		return nil
	}
	return fmt.Errorf("%w: version 2 has no controller for %s (has %s). Where version 1 has it, boot with systemd.unified_cgroup_hierarchy=1",
		ErrMissing, strings.Join(missing, ", "), strings.Join(append(have, "none")[:max(1, len(have))], " "))
}

// Make makes a group for the container of an owner, with settings such as "pids.max": "500". The thread must act on
// files as root.
func Make(owner uint32, container string, settings map[string]string) (*Group, error) {
	if err := Check(settings); err != nil {
		return nil, err
	}
	root, err := Hierarchy()
	if err != nil {
		return nil, err
	}
	g := &Group{fd: -1}
	// Where systemd is the init, the hierarchy is its own, and it gives a part of it to whoever asks.
	if host.Systemd() {
		err = g.makeScope(root, owner, container, needed(settings))
	} else {
		err = g.makeDirect(root, owner, container, needed(settings))
	}
	if err == nil {
		err = g.set(settings)
	}
	if err == nil {
		g.fd, err = unix.Open(g.path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("control group of container %s: %w", container, err), g.Remove())
	}
	return g, nil
}

// Prepare makes the directory of the groups that are made directly, for which it takes more than to be root on files. It
// is there until the next boot.
func Prepare() error {
	root, err := Hierarchy()
	if err != nil || host.Systemd() {
		return nil
	}
	err = os.Mkdir(filepath.Join(root, parent), 0o755)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}

// directName is the name of a group, which tells whose it is.
func directName(owner uint32, container string) string { return fmt.Sprintf("%d.%s", owner, container) }

func (g *Group) makeDirect(root string, owner uint32, container string, controllers []string) error {
	if owner != 0 {
		if err := checkBounds(root); err != nil {
			return err
		}
	}
	top := filepath.Join(root, parent)
	if err := Prepare(); err != nil {
		return fmt.Errorf("%w: %w; root makes that directory with `runtime gc` or `runtime store mount`, at every boot", ErrMissing, err)
	}
	for _, dir := range []string{root, top} {
		if err := enable(dir, controllers); err != nil {
			return err
		}
	}
	path := filepath.Join(top, directName(owner, container))
	if err := removeWhole(path); err != nil { // a dead supervisor's: the record was ours to take
		return err
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	g.path = path
	return nil
}

// enable lets the groups in a directory be bounded by controllers.
func enable(dir string, controllers []string) error {
	if len(controllers) == 0 {
		return nil
	}
	line := "+" + strings.Join(controllers, " +")
	err := write(filepath.Join(dir, "cgroup.subtree_control"), line)
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%w: %s has processes of its own: is this a container?", ErrMissing, dir)
	}
	return err
}

// set writes the settings. One that the group already has, as a controller's file is missing, is an error.
func (g *Group) set(settings map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		err := write(filepath.Join(g.path, key), settings[key])
		if errors.Is(err, os.ErrNotExist) && key == "memory.swap.max" {
			continue // no swap accounting: there is no swap to be had
		}
		if err != nil {
			return fmt.Errorf("%s = %s: %w", key, settings[key], err)
		}
	}
	return nil
}

// write writes a file of the kernel's, which takes a line whole or not at all.
func write(name, line string) error {
	fd, err := unix.Open(name, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(line)); err != nil {
		return &os.PathError{Op: "write", Path: name, Err: err}
	}
	return nil
}

// FD returns the descriptor of the group's directory, owned by the Group.
func (g *Group) FD() int { return g.fd }

// Path is the group's directory.
func (g *Group) Path() string { return g.path }

// Remove kills whatever is in the group and removes it. The thread must act on files as root.
func (g *Group) Remove() error {
	if g.fd >= 0 {
		unix.Close(g.fd)
		g.fd = -1
	}
	if g.scope != "" {
		return g.leaveScope()
	}
	if g.path == "" {
		return nil
	}
	return removeWhole(g.path)
}

// removeWithin bounds how long processes may take to die, and pause how often that is looked at.
const (
	removeWithin = 10 * time.Second
	pause        = time.Millisecond
)

// removeWhole removes a group with all that is in it (cgroup.kill, since Linux 5.14).
func removeWhole(path string) error {
	err := unix.Rmdir(path)
	if err == nil || err == unix.ENOENT {
		return nil
	}
	if err := write(filepath.Join(path, "cgroup.kill"), "1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for begun := time.Now(); ; time.Sleep(pause) {
		err := unix.Rmdir(path)
		if err == nil || err == unix.ENOENT {
			return nil
		}
		if err != unix.EBUSY || time.Since(begun) > removeWithin {
			return fmt.Errorf("remove control group %s: %w", path, err)
		}
	}
}

// Collect removes the groups of dead containers, and returns their names. The thread must act on files as root.
// (A scope of systemd's goes with its last process.)
func Collect(alive func(owner uint32, container string) bool) ([]string, error) {
	root, err := Hierarchy()
	if err != nil {
		return nil, nil // nothing was made
	}
	top := filepath.Join(root, parent)
	entries, err := os.ReadDir(top)
	if err != nil {
		return nil, nil
	}
	var removed []string
	var errs []error
	for _, e := range entries {
		var owner uint32
		number, container, ok := strings.Cut(e.Name(), ".")
		if _, err := fmt.Sscan(number, &owner); !ok || !e.IsDir() || err != nil || alive(owner, container) {
			continue
		}
		if err := removeWhole(filepath.Join(top, e.Name())); err != nil {
			errs = append(errs, err)
			continue
		}
		removed = append(removed, filepath.Join(top, e.Name()))
	}
	return removed, errors.Join(errs...)
}

// CollectOf is Collect of one owner's groups.
func CollectOf(uid uint32, alive func(owner uint32, container string) bool) ([]string, error) {
	return Collect(func(owner uint32, container string) bool { return owner != uid || alive(owner, container) })
}
