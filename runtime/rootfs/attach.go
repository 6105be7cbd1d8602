package rootfs

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/plan"
	"mayfly/runtime/privilege"
)

// MountAll attaches everything to the root file system: the mounts that are ready on
// the scratch and the others, in the plan's order, then the container's own files, then
// empty directories over what is to be hidden.
//
// The root file system's author may be hostile. Every target is resolved to a
// descriptor inside the root (RESOLVE_IN_ROOT), and that descriptor is checked before
// anything is attached to it. The thread needs CAP_SYS_ADMIN, and CAP_SETUID and
// CAP_SETGID permitted.
func (b *Builder) MountAll() error {
	if err := b.identify(); err != nil {
		return err
	}
	inside := mount.RootAt(b.tree.FD())
	for _, m := range b.Plan.Spec.Mounts {
		if plan.OnScratch(m.Destination) && !slices.Contains(plan.OwnFilesystems, m.Destination) {
			continue // came along with /dev, /proc or /sys
		}
		tree, ok := b.Scratch.Own[m.Destination]
		if m.Type == "bind" {
			tree, ok = b.sources.binds[m.Destination]
		}
		if !ok {
			return fmt.Errorf("%s: nothing was made for it", m.Destination)
		}
		err := b.attachTo(inside, tree, m.Destination)
		if m.Type == "bind" && errors.Is(err, unix.ENOENT) {
			err = b.attachAgain(inside, m)
		}
		if err != nil {
			return err
		}
	}
	for _, f := range b.Plan.Files {
		if err := b.attachTo(inside, b.Scratch.Own[f.Path], f.Path); err != nil {
			return err
		}
	}
	for _, name := range b.sources.hidden {
		if err := b.hide(inside, name); err != nil {
			return fmt.Errorf("hide %s: %w", name, err)
		}
	}
	return nil
}

// hide mounts an empty directory over a directory inside.
func (b *Builder) hide(inside mount.Root, name string) error {
	target, err := b.find(inside, name, false)
	if err != nil {
		return err
	}
	defer target.Close()
	tree, err := mount.Clone(b.Scratch.tree.FD(), hiddenDir, false)
	if err != nil {
		return err
	}
	defer tree.Close()
	return tree.Attach(target)
}

// identify finds the mount id of the root file system.
func (b *Builder) identify() error {
	root, err := b.tree.Place()
	b.rootID = root.MountID
	return err
}

// attachTo attaches a tree at a destination inside. A missing mount point is made in a
// snapshot, in a session, or in a directory of the container's own (see mayCreate);
// never in an image. What cannot be attached is an error: the container would lack what
// was asked for.
func (b *Builder) attachTo(inside mount.Root, tree mount.Tree, destination string) error {
	source, err := tree.Place()
	if err != nil {
		return fmt.Errorf("%s: %w", destination, err)
	}
	dir := source.IsDir
	follow := dir && !slices.Contains(plan.OwnFilesystems, destination)
	target, err := b.find(inside, destination, follow)
	if errors.Is(err, unix.ENOENT) && b.mayCreate(destination) {
		if err := b.withCallersRights(func() error { return b.create(inside, destination, dir) }); err != nil {
			return fmt.Errorf("mount point %q: %w", destination, explain(err, dir))
		}
		target, err = b.find(inside, destination, follow)
	}
	if err != nil {
		return fmt.Errorf("mount point %q: %w", destination, explain(err, dir))
	}
	defer target.Close()
	if err := b.checkTarget(target, dir); err != nil {
		return fmt.Errorf("mount point %q: %w", destination, err)
	}
	return tree.Attach(target)
}

// create makes a missing mount point in the root file system or in a directory of the
// container's own. Everywhere else the directory is the host's, and nothing is made.
func (b *Builder) create(inside mount.Root, destination string, dir bool) error {
	writable := []mount.Tree{b.tree}
	for _, m := range b.Plan.Spec.Mounts {
		if plan.Own(m) {
			writable = append(writable, b.Scratch.Own[m.Destination])
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

// find resolves a mount point to a descriptor, which the caller must close.
func (b *Builder) find(inside mount.Root, destination string, follow bool) (target mount.Target, err error) {
	err = b.withCallersRights(func() error {
		target, err = resolve(inside, destination, follow)
		return err
	})
	return target, err
}

// withCallersRights calls f. If that fails with EACCES it calls f once more with the
// caller's rights: a directory of the caller's, such as a home or XDG_RUNTIME_DIR, may
// be closed to a root without capabilities.
func (b *Builder) withCallersRights(f func() error) error {
	err := f()
	if !errors.Is(err, unix.EACCES) {
		return err
	}
	return privilege.AsCaller(b.Plan.Owner.UID, b.Plan.Owner.GID, f)
}

// resolve resolves a destination inside the root. With follow it must be a directory,
// and symbolic links are followed. Otherwise the last component is the mount point
// itself, also if it is a link.
func resolve(inside mount.Root, destination string, follow bool) (mount.Target, error) {
	if follow {
		return inside.Dir(destination)
	}
	return inside.Name(destination)
}

// mayCreate tells whether a missing mount point may be made: in a snapshot or session,
// or below a directory of the container's own, such as /tmp.
func (b *Builder) mayCreate(destination string) bool {
	if b.Plan.Root.MayCreate() {
		return true
	}
	return !b.Plan.Root.Changes() && slices.ContainsFunc(b.Plan.Spec.Mounts, func(m specs.Mount) bool {
		return plan.Own(m) && strings.HasPrefix(destination, m.Destination+"/")
	})
}

// checkTarget refuses targets that an image's symbolic links could lead to: a target of
// another kind than the source, the root directory, /dev, and the kernel's file
// systems. Most targets are on the root file system itself, which is none of these.
func (b *Builder) checkTarget(target mount.Target, dir bool) error {
	place, err := target.Place()
	switch {
	case err != nil:
		return err
	case place.IsDir != dir:
		return mismatch(dir)
	case place.MountID == b.rootID && place.IsMountRoot:
		return errors.New("leads to the root directory")
	case place.MountID == b.rootID:
		return nil
	}
	inDev, err := b.isInDev(place.MountID)
	if err != nil {
		return err
	}
	if inDev {
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

// isInDev tells whether a mount is /dev or one of the mounts in it. Each device node is
// one. (procfs and sysfs are known by their type.)
func (b *Builder) isInDev(mountID uint64) (bool, error) {
	for destination, tree := range b.Scratch.Own {
		if !strings.HasPrefix(destination+"/", "/dev/") {
			continue
		}
		place, err := tree.Place()
		if err != nil || place.MountID == mountID {
			return err == nil, err
		}
	}
	return false, nil
}

func mismatch(dir bool) error {
	if dir {
		return errors.New("the source is a directory, this is not")
	}
	return errors.New("the source is a file, this is a directory")
}

// explain turns the errno of a lookup in the image into an error that the user can act
// on.
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
