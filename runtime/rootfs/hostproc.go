package rootfs

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/privilege"
)

// CoverHostProc covers or refuses every procfs other than the container's own. A
// recursive bind may have brought one along, such as that of a chroot in /home; it
// would show the host's processes and their root directories. Below a bind that the
// caller asked for it is refused. Below a bind of the policy's, which everybody gets,
// it is covered, so that one user's chroot does not stop everybody's containers.
//
// The list of mounts is that of the container's own namespace, after everything was
// mounted. A look at the host's mounts would tell nothing about the moment in which
// they were copied, and the caller can stop the process to choose that moment. The
// thread must have pivoted, so its list has only the container's mounts. It needs
// CAP_SYS_ADMIN, and CAP_SETUID and CAP_SETGID permitted.
func (b *Builder) CoverHostProc() error {
	if b.nothingCameAlong() {
		return nil
	}
	mounts, err := b.mounts()
	if err != nil {
		return err
	}
	own, err := b.Scratch.Own["/proc"].Place()
	if err != nil {
		return err
	}
	foreign, err := foreignProc(mounts, own.MountID)
	if err != nil {
		return err
	}
	for _, m := range foreign {
		if err := b.refuseBelowCallerBinds(mounts, m); err != nil {
			return err
		}
		if covered(mounts, m) {
			continue
		}
		if err := b.coverMount(m); err != nil {
			return fmt.Errorf("cover the host's processes at %q: %w; root can unmount that", m.Point, err)
		}
	}
	return nil
}

// nothingCameAlong tells whether no bind has brought a mount along. That takes two
// system calls for each bind; to read the list of all mounts takes a thirtieth of a
// launch.
func (b *Builder) nothingCameAlong() bool {
	for _, tree := range b.sources.binds {
		place, err := tree.Place()
		if err != nil {
			return false
		}
		if !place.IsDir {
			// A mount on a file covers it, and then was the source itself.
			continue
		}
		if has, err := tree.HasMounts(); has || err != nil {
			return false
		}
	}
	return true
}

// foreignProc lists the mounts of other instances of procfs than the mount with the id
// own: each instance has a device number.
func foreignProc(mounts []mount.Info, own uint64) ([]mount.Info, error) {
	i := slices.IndexFunc(mounts, func(m mount.Info) bool { return m.ID == own })
	if i < 0 {
		return nil, errors.New("the container's own /proc is not among its mounts")
	}
	var foreign []mount.Info
	for _, m := range mounts {
		if m.Type == mounts[i].Type && m.Device != mounts[i].Device {
			foreign = append(foreign, m)
		}
	}
	return foreign, nil
}

// covered tells whether another mount lies on the root of a mount.
func covered(mounts []mount.Info, m mount.Info) bool {
	return slices.ContainsFunc(mounts, func(o mount.Info) bool { return o.Parent == m.ID && o.Point == m.Point })
}

// refuseBelowCallerBinds returns an error if a mount belongs to a bind that the caller
// asked for: it is the bind's own mount, or that mount is one of its ancestors. Paths
// would not tell, since binds can cover each other.
func (b *Builder) refuseBelowCallerBinds(mounts []mount.Info, m mount.Info) error {
	above := ancestors(mounts, m)
	for _, bind := range b.Plan.Spec.Mounts {
		if !slices.Contains(b.Plan.CallerBinds, bind.Destination) || bind.Type != "bind" {
			continue
		}
		tree, err := b.sources.binds[bind.Destination].Place()
		if err != nil {
			return err
		}
		if slices.Contains(above, tree.MountID) {
			place := path.Join(bind.Source, strings.TrimPrefix(m.Point, bind.Destination))
			return fmt.Errorf("bind source %q: has the host's processes in it, at %q: bind the directories beside that", bind.Source, place)
		}
	}
	return nil
}

// ancestors returns the ids of a mount and of all mounts above it.
func ancestors(mounts []mount.Info, m mount.Info) []uint64 {
	ids := []uint64{m.ID}
	for range mounts { // ends even if the list has a cycle
		i := slices.IndexFunc(mounts, func(o mount.Info) bool { return o.ID == m.Parent && o.ID != m.ID })
		if i < 0 {
			break
		}
		m = mounts[i]
		ids = append(ids, m.ID)
	}
	return ids
}

// coverMount mounts an empty directory, or the null device, over a mount.
func (b *Builder) coverMount(m mount.Info) error {
	inside := mount.RootAt(b.tree.FD())
	target, place, err := b.findMount(inside, m)
	if errors.Is(err, unix.EACCES) && b.Plan.Rootless {
		return nil // the command sees no more there than the caller does outside
	}
	if err != nil {
		return err
	}
	defer target.Close()
	tree, err := b.emptiness(inside, place.IsDir)
	if err != nil {
		return err
	}
	defer tree.Close()
	return tree.Attach(target)
}

// findMount resolves the mount point of a mount to a descriptor of its root, which the
// caller must close. Who called the program may own directories on the way and rename
// them at any moment: so the mount id of what the path led to is compared.
func (b *Builder) findMount(inside mount.Root, m mount.Info) (target mount.Target, place mount.Place, err error) {
	target, err = b.find(inside, m.Point, false)
	if errors.Is(err, unix.EACCES) && !b.Plan.Rootless {
		target, err = b.findAsOwners(inside, m.Point)
	}
	if err != nil {
		return target, place, err
	}
	place, err = target.Place()
	if err == nil && (place.MountID != m.ID || !place.IsMountRoot) {
		err = errors.New("something else is mounted there")
	}
	if err != nil {
		err = errors.Join(err, target.Close())
	}
	return target, place, err
}

// findAsOwners resolves a mount point below a directory that neither the caller nor a
// root without capabilities can enter, such as another user's home. Each directory is
// looked up with the ids of the one above it. Only O_PATH descriptors are opened.
func (b *Builder) findAsOwners(inside mount.Root, name string) (target mount.Target, err error) {
	target, err = inside.Name("/")
	for part := range strings.SplitSeq(strings.Trim(name, "/"), "/") {
		if err != nil {
			break
		}
		above := target
		var st unix.Stat_t
		if err = unix.Fstat(above.FD(), &st); err == nil {
			err = privilege.AsUser(st.Uid, st.Gid, privilege.None, func() (err error) {
				target, err = mount.RootAt(above.FD()).Name(part)
				return err
			})
		}
		err = errors.Join(err, above.Close())
	}
	return target, err
}

// emptiness returns a new read-only empty tmpfs, or for a file a copy of the
// container's null device.
func (b *Builder) emptiness(inside mount.Root, dir bool) (mount.Tree, error) {
	const attrs = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	if dir {
		return mount.New("tmpfs", []string{"mode=0555", "size=4k"}, attrs)
	}
	null, err := inside.Name("/dev/null")
	if err != nil {
		return mount.Tree{}, err
	}
	defer null.Close()
	return mount.Clone(null.FD(), "", false)
}
