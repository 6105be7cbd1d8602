package rootfs

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/inputs"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/plan"
	"mayfly/runtime/privilege"
)

// mounts lists the mounts of the container, after Pivot.
func (b *Builder) mounts() ([]mount.Info, error) {
	fd, err := unix.Openat(b.ThreadProc, "mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	text, err := file.ReadFD(fd, mount.MaxInfo)
	if err != nil {
		return nil, fmt.Errorf("mountinfo: %w", err)
	}
	return mount.ParseInfo(string(text))
}

// Watch watches what is opened below the binds and in the root file system, from here
// on. The thread must have pivoted. It needs CAP_SYS_ADMIN, and CAP_SETUID and
// CAP_SETGID permitted.
func (b *Builder) Watch() error {
	w, err := inputs.New()
	if err != nil {
		return err
	}
	b.Opened = w
	namespace, err := unix.Openat(b.ThreadProc, "ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	w.Keep(namespace)
	for _, fd := range append([]int{0, 1, 2}, b.Plan.Descriptors...) {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			w.Missed(fmt.Sprintf("files below the directory that is descriptor %d", fd))
		}
	}
	mounts, err := b.mounts()
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if !b.isWatched(mounts, m) {
			continue
		}
		if strings.HasPrefix(m.Type, "fuse") {
			if m.Option("allow_other") || m.Option("user_id="+strconv.Itoa(int(b.Plan.Owner.UID))) {
				w.Missed(fmt.Sprintf("files below %q: a file system that a user's process answers for (%s) is not watched", m.Point, m.Type))
			}
			w.Leave(m.ID)
			continue
		}
		if err := b.mark(m); err != nil {
			return fmt.Errorf("watch %q: %w", m.Point, err)
		}
	}
	return nil
}

// unreachable tells whether other mounts are in the way to a mount: one on its root, or
// on a directory above its mount point; or so with a mount above it.
func unreachable(mounts []mount.Info, m mount.Info) bool {
	for _, id := range ancestors(mounts, m) {
		at := slices.IndexFunc(mounts, func(o mount.Info) bool { return o.ID == id })
		m := mounts[at]
		if covered(mounts, m) || slices.ContainsFunc(mounts, func(o mount.Info) bool {
			return o.ID != m.ID && o.Parent == m.Parent && o.Point != m.Point && plan.Within(m.Point, o.Point)
		}) {
			return true
		}
	}
	return false
}

// isWatched tells whether a mount is one to watch: not the container's own, and not
// behind others.
func (b *Builder) isWatched(mounts []mount.Info, m mount.Info) bool {
	return b.Plan.WhoseIs(m.Point) != plan.OfContainer && !unreachable(mounts, m)
}

// mark watches one mount, by the descriptor that was compared with it. Root without
// capabilities may not read all that is mounted. The owner may, unless they deny it to
// themself; then a process of theirs could allow it again.
func (b *Builder) mark(m mount.Info) error {
	target, _, err := b.findMount(mount.RootAt(b.tree.FD()), m)
	if err != nil {
		return err
	}
	defer target.Close()
	var st unix.Stat_t
	if err := unix.Fstat(target.FD(), &st); err != nil {
		return err
	}
	mark := func() error { return b.Opened.Mark(b.ThreadProc, "fd/"+strconv.Itoa(target.FD()), m.ID) }
	if err = mark(); errors.Is(err, unix.EACCES) {
		err = privilege.AsUser(st.Uid, st.Gid, privilege.SysAdmin, mark)
	}
	if !errors.Is(err, unix.EACCES) {
		return err
	}
	if st.Uid == b.Plan.Owner.UID || b.Plan.RootInside() {
		b.Opened.Missed(fmt.Sprintf("files below %q, which its owner may not read now", m.Point))
	}
	b.Opened.Leave(m.ID)
	return nil
}

// Unwatched tells the Watch of mounts that came later, as those of an automounter do.
func (b *Builder) Unwatched() {
	mounts, err := b.mounts()
	if err != nil {
		b.Opened.Missed("the mounts could not be listed: " + err.Error())
	}
	for _, m := range mounts {
		if b.isWatched(mounts, m) && !b.Opened.Knows(m.ID) {
			b.Opened.Missed(fmt.Sprintf("files below %q, which was mounted later", m.Point))
		}
	}
}
