package rootfs

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/privilege"
)

// CoverHostProc sees to it that no mount of the container shows a procfs of the host's,
// which a bind has brought along from below its source: it would show the host's
// processes, and their root directories. Below what the caller asked for it is refused.
// Below what the policy binds for everybody it is covered with emptiness, since
// somebody's chroot in /home is no reason to run nothing.
//
// What is looked at is the container's own mount namespace, after it was put together: a
// look at the host's mounts says nothing of the moment in which they were copied, and the
// caller, who can stop the process, chooses how far that is away. The root directory is
// the container's already, so the kernel tells nothing but its mounts.
func (b *Builder) CoverHostProc() error {
	if b.nothingCameAlong() {
		return nil
	}
	fd, err := unix.Openat(b.ThreadProc, "mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	text, err := file.ReadFD(fd, mount.MaxInfo)
	if err != nil {
		return fmt.Errorf("mountinfo: %w", err)
	}
	mounts, err := mount.ParseInfo(string(text))
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

// nothingCameAlong tells whether the kernel says that no bind has brought a mount. It takes
// two calls for each, where the list of all mounts takes a thirtieth of the launch.
func (b *Builder) nothingCameAlong() bool {
	for _, tree := range b.sources.binds {
		place, err := tree.Place()
		if err != nil {
			return false
		}
		if !place.IsDir {
			continue // on a file nothing is mounted but over it, which was not copied
		}
		if has, err := tree.HasMounts(); has || err != nil {
			return false
		}
	}
	return true
}

// foreignProc lists the mounts of a procfs that is another instance than that of the
// mount own.
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

// covered tells whether another mount is on the root of a mount.
func covered(mounts []mount.Info, m mount.Info) bool {
	return slices.ContainsFunc(mounts, func(o mount.Info) bool { return o.Parent == m.ID && o.Point == m.Point })
}

// refuseBelowCallerBinds refuses a mount that came along with a bind of the caller's: one
// that is the bind's own mount, or has that above it. Paths would not tell, since binds
// cover each other.
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

// ancestors are the ids of a mount and of all above it.
func ancestors(mounts []mount.Info, m mount.Info) []uint64 {
	ids := []uint64{m.ID}
	for range mounts { // each at most once, whatever the list says
		i := slices.IndexFunc(mounts, func(o mount.Info) bool { return o.ID == m.Parent && o.ID != m.ID })
		if i < 0 {
			break
		}
		m = mounts[i]
		ids = append(ids, m.ID)
	}
	return ids
}

// coverMount mounts emptiness over a mount. Directories on the way may be the caller's,
// who can rename them at any moment: so the kernel is asked whether what the path led to
// is that very mount.
func (b *Builder) coverMount(m mount.Info) error {
	inside := mount.RootAt(b.tree.FD())
	target, err := b.find(inside, m.Point, false)
	switch {
	case errors.Is(err, unix.EACCES) && b.Plan.Rootless:
		return nil // who has no grant can be nobody else, and sees there what they see outside
	case errors.Is(err, unix.EACCES):
		target, err = b.findAsOwners(inside, m.Point)
	}
	if err != nil {
		return err
	}
	defer target.Close()
	place, err := target.Place()
	if err != nil {
		return err
	}
	if place.MountID != m.ID || !place.IsMountRoot {
		return errors.New("something else is mounted there")
	}
	tree, err := b.emptiness(inside, place.IsDir)
	if err != nil {
		return err
	}
	defer tree.Close()
	return tree.Attach(target)
}

// findAsOwners finds a mount point below a directory that is closed to the caller and to a
// root without capabilities, such as another user's home, with the rights of each
// directory's owner. Nothing is opened but the path.
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

// emptiness is a directory with nothing in it, or the null device.
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
