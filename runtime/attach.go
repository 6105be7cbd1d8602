package runtime

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/nsexec"
	"mayfly/runtime/console"
)

// mountAll attaches everything to the root file system: what stands ready on the
// scratch, then the other mounts in the plan's order, then the files.
//
// The root file system's author may be hostile. Every target is resolved inside
// it to a descriptor, which is looked at before anything is attached to it.
func (l *launch) mountAll() error {
	if err := l.identify(); err != nil {
		return err
	}
	inside := mount.RootAt(l.tree.FD())
	for _, m := range l.plan.Spec.Mounts {
		if onScratch(m.Destination) && !slices.Contains(ours, m.Destination) {
			continue // came along with /dev, /proc or /sys
		}
		tree, ok := l.scratch.own[m.Destination]
		if m.Type == "bind" {
			tree, ok = l.sources.binds[m.Destination]
		}
		if !ok {
			return fmt.Errorf("%s: nothing was made for it", m.Destination)
		}
		err := l.attachTo(inside, tree, m.Destination)
		if m.Type == "bind" && errors.Is(err, unix.ENOENT) {
			err = l.attachAgain(inside, m)
		}
		if err != nil {
			return err
		}
	}
	for _, f := range l.plan.Files {
		if err := l.attachTo(inside, l.scratch.own[f.Path], f.Path); err != nil {
			return err
		}
	}
	for _, name := range l.sources.hidden {
		if err := l.hide(inside, name); err != nil {
			return fmt.Errorf("hide %s: %w", name, err)
		}
	}
	return nil
}

// hide covers a directory inside with emptiness.
func (l *launch) hide(inside mount.Root, name string) error {
	target, err := l.find(inside, name, false)
	if err != nil {
		return err
	}
	defer target.Close()
	tree, err := mount.Clone(l.scratch.tree.FD(), hiddenDir, false)
	if err != nil {
		return err
	}
	defer tree.Close()
	return tree.Attach(target)
}

// identify finds the ids of the mounts that nothing else is mounted on.
func (l *launch) identify() error {
	root, err := l.tree.Place()
	if err != nil {
		return err
	}
	l.rootID = root.MountID
	for destination, tree := range l.scratch.own {
		if !strings.HasPrefix(destination+"/", "/dev/") {
			continue // the kernel's file systems tell by their type
		}
		place, err := tree.Place()
		if err != nil {
			return err
		}
		l.devIDs = append(l.devIDs, place.MountID)
	}
	return nil
}

// attachTo attaches a tree at a destination inside. In a snapshot a missing
// destination is made; the image itself is never changed for the sake of a mount. What
// cannot be attached is an error: a container without it is not what was asked for.
func (l *launch) attachTo(inside mount.Root, tree mount.Tree, destination string) error {
	source, err := tree.Place()
	if err != nil {
		return fmt.Errorf("%s: %w", destination, err)
	}
	dir := source.IsDir
	follow := dir && !slices.Contains(ours, destination)
	target, err := l.find(inside, destination, follow)
	if errors.Is(err, unix.ENOENT) && l.mayCreate(destination) {
		if err := l.withCallersRights(func() error { return l.create(inside, destination, dir) }); err != nil {
			return fmt.Errorf("mount point %q: %w", destination, explain(err, dir))
		}
		target, err = l.find(inside, destination, follow)
	}
	if err != nil {
		return fmt.Errorf("mount point %q: %w", destination, explain(err, dir))
	}
	defer target.Close()
	if err := l.checkTarget(target, dir); err != nil {
		return fmt.Errorf("mount point %q: %w", destination, err)
	}
	return tree.Attach(target)
}

// find finds a mount point.
func (l *launch) find(inside mount.Root, destination string, follow bool) (target mount.Target, err error) {
	err = l.withCallersRights(func() error {
		target, err = resolve(inside, destination, follow)
		return err
	})
	return target, err
}

// withCallersRights calls f, and once more with the caller's rights where it has been
// refused: a directory of the caller's, a home on a bind or that of XDG_RUNTIME_DIR,
// may be closed to root without capabilities.
func (l *launch) withCallersRights(f func() error) error {
	err := f()
	if !errors.Is(err, unix.EACCES) {
		return err
	}
	leave, failed := becomeCaller(l.caller)
	if failed != nil {
		return err
	}
	err = f()
	back := leave()
	if back == nil {
		back = errors.Join(l.becomeRootInside(), nsexec.SetEffective(capSysAdmin))
	}
	return errors.Join(err, back)
}

// resolve takes a directory through symbolic links; a file, and what must be where it says,
// by the name itself.
func resolve(inside mount.Root, destination string, follow bool) (mount.Target, error) {
	if follow {
		return inside.Dir(destination)
	}
	return inside.Name(destination)
}

// mayCreate tells whether a missing mount point may be made: in a copy, or on a file system of the container's own.
func (l *launch) mayCreate(destination string) bool {
	if l.plan.Snapshot || l.plan.Session != "" {
		return true
	}
	return l.plan.Ephemeral && slices.ContainsFunc(l.plan.Spec.Mounts, func(m specs.Mount) bool {
		return m.Type == "tmpfs" && strings.HasPrefix(destination, m.Destination+"/")
	})
}

// create makes a missing mount point, in the snapshot or in the container's own
// memory: nowhere else, since the rest is the host's.
func (l *launch) create(inside mount.Root, destination string, dir bool) error {
	writable := []mount.Tree{l.tree}
	for _, m := range l.plan.Spec.Mounts {
		if m.Type == "tmpfs" && !onScratch(m.Destination) {
			writable = append(writable, l.scratch.own[m.Destination])
		}
	}
	var ids []uint64
	for _, tree := range writable {
		place, err := tree.Place()
		if err != nil {
			return err
		}
		ids = append(ids, place.MountID)
	}
	_, err := inside.Create(destination, dir, ids...)
	return err
}

// checkTarget refuses what an image could make of an innocent destination: something
// of another kind, the root directory itself, the kernel's file systems.
func (l *launch) checkTarget(target mount.Target, dir bool) error {
	place, err := target.Place()
	switch {
	case err != nil:
		return err
	case place.IsDir != dir:
		return mismatch(dir)
	case place.IsMountRoot && place.MountID == l.rootID:
		return errors.New("leads to the root directory")
	case slices.Contains(l.devIDs, place.MountID):
		return errors.New("leads into /dev")
	}
	magic, err := target.FSType()
	if err != nil {
		return err
	}
	switch magic {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.DEVPTS_SUPER_MAGIC:
		return errors.New("leads into a file system of the kernel's")
	}
	return nil
}

func mismatch(dir bool) error {
	if dir {
		return errors.New("the source is a directory, this is not")
	}
	return errors.New("the source is a file, this is a directory")
}

// explain says what a lookup in the image met with.
func explain(err error, dir bool) error {
	switch {
	case errors.Is(err, unix.ENOTDIR) && dir:
		return mismatch(dir)
	case errors.Is(err, unix.EEXIST):
		return errors.New("a symbolic link in the image leads nowhere: `runtime image shell` can make what it leads to")
	case errors.Is(err, unix.ENOENT):
		return errors.New("is not in the image, or a symbolic link that leads nowhere: `runtime image shell` can make it")
	case errors.Is(err, unix.ELOOP):
		return errors.New("a loop of symbolic links in the image")
	}
	return err
}

// pivot enters the root file system, and lets go of the host's.
func (l *launch) pivot() error {
	// The container's procfs, the only one that a path leads to from here on, does not
	// know the thread.
	fd, err := unix.Open("/proc/thread-self", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("/proc/thread-self: %w", err)
	}
	l.threadProc = fd
	if l.plan.Spec.Root.Readonly {
		if err := l.tree.SetAttrs(unix.MOUNT_ATTR_RDONLY, 0, false); err != nil {
			return err
		}
	}
	return mount.Pivot(l.tree)
}

// openConsole makes the container's terminal, from its own devpts.
func (l *launch) openConsole() error {
	if !l.plan.Spec.Process.Terminal && !l.plan.TTY {
		return nil
	}
	terminal, err := console.Open(l.scratch.own["/dev/pts"].FD())
	if err != nil {
		return err
	}
	l.console = terminal
	// Before the command can ask for it. A terminal without a size is one all the same.
	for fd := 0; fd <= 2 && terminal.Resize(fd) != nil; fd++ {
	}
	if l.plan.TTY {
		return nil
	}
	number, err := terminal.Number()
	if err != nil {
		return err
	}
	return l.scratchInRoot().cloneOnto("/dev/pts/"+strconv.Itoa(number), "/dev/console")
}

// scratchInRoot resolves in the container's root, where /dev is by now.
func (l *launch) scratchInRoot() *scratch {
	return &scratch{root: mount.RootAt(l.tree.FD())}
}
