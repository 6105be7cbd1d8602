// Package cgroup limits and measures what the processes of a container use together.
// Each container that needs it gets a control group (cgroup v2). If systemd is the
// init, systemd makes the group, otherwise this package does.
//
// The group's directory belongs to root. Commands start in the group (clone3(2) with
// CLONE_INTO_CGROUP, since Linux 5.7). The supervisor and the container's PID 1 share
// their memory and stay outside, so that the container's lack of memory does not kill
// them.
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

// ErrMissing means that this machine's control groups cannot do what is asked for.
var ErrMissing = errors.New("control groups (cgroup v2) cannot do this here")

// parent is the directory, at the root of the hierarchy, of the groups that this
// package makes itself.
const parent = "mayfly"

// A Group is a container's control group. Its holder must Remove it.
type Group struct {
	path  string // directory of the group that has the container's processes
	fd    int    // the open directory
	scope string // directory of systemd's scope, above path; "": made without systemd
}

// mounts are the mount points of cgroup v2: alone, or beside v1.
var mounts = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}

// Hierarchy returns the mount point of cgroup v2.
func Hierarchy() (string, error) {
	for _, place := range mounts {
		var fs unix.Statfs_t
		if unix.Statfs(place, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
			return place, nil
		}
	}
	return "", fmt.Errorf("%w: it is not mounted at %s", ErrMissing, mounts[0])
}

// Controllers returns the controllers of cgroup v2, e.g. "memory", "pids", "cpu", "io".
// A controller that v1 uses is not among them.
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

// needed returns the controllers of settings: the beginning of each setting's name.
func needed(settings map[string]string) []string {
	var list []string
	for key := range settings {
		controller, _, _ := strings.Cut(key, ".")
		list = append(list, controller)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Check returns an error if this machine lacks a controller for the settings.
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
	return fmt.Errorf("%w: version 2 has no controller for %s (has %s). Where version 1 has it, boot with systemd.unified_cgroup_hierarchy=1; in a job of a batch system ask that for less",
		ErrMissing, strings.Join(missing, ", "), strings.Join(append(have, "none")[:max(1, len(have))], " "))
}

// Make makes a group for an owner's container, with settings such as "pids.max": "500".
// The thread must act on files as root.
func Make(owner uint32, container string, settings map[string]string) (*Group, error) {
	if err := Check(settings); err != nil {
		return nil, err
	}
	root, err := Hierarchy()
	if err != nil {
		return nil, err
	}
	g := &Group{fd: -1}
	// If systemd is the init, it owns the hierarchy, and delegates a part of it on
	// request.
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

// Prepare makes the directory parent, if systemd is not the init. That takes more than
// a thread that acts on files as root. The directory stays until the next boot.
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

// directName returns the name of a group in parent: its owner and container.
func directName(owner uint32, container string) string { return fmt.Sprintf("%d.%s", owner, container) }

func (g *Group) makeDirect(root string, owner uint32, container string, controllers []string) error {
	if owner != 0 {
		if err := checkLimits(root); err != nil {
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
	if err := removeWhole(path); err != nil { // a leftover: this container has the name now
		return err
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	g.path = path
	return nil
}

// enable enables controllers for the groups in a directory.
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

// set writes the settings. A missing file is an error, except memory.swap.max.
func (g *Group) set(settings map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		err := write(filepath.Join(g.path, key), settings[key])
		if errors.Is(err, os.ErrNotExist) && key == "memory.swap.max" {
			continue // without swap accounting
		}
		if err != nil {
			return fmt.Errorf("%s = %s: %w", key, settings[key], err)
		}
	}
	return nil
}

// write writes a line to a file of cgroupfs, in one write(2): the kernel takes all of
// it or nothing.
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

// Path returns the path of the group's directory.
func (g *Group) Path() string { return g.path }

// Remove kills the processes in the group, and removes it. The thread must act on files
// as root.
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

// removeWithin is how long removeWhole waits for killed processes to end, and pause is
// the interval of its checks.
const (
	removeWithin = 10 * time.Second
	pause        = time.Millisecond
)

// removeWhole kills the processes in a group (cgroup.kill, since Linux 5.14), and
// removes it.
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

// Collect removes the groups of dead containers, and returns their names. The thread
// must act on files as root. (systemd removes a scope with its last process.)
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

// CollectOf is Collect for the groups of one owner.
func CollectOf(uid uint32, alive func(owner uint32, container string) bool) ([]string, error) {
	return Collect(func(owner uint32, container string) bool { return owner != uid || alive(owner, container) })
}
