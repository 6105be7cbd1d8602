package image

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"mayfly/btrfs"
	"mayfly/mount"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/internal/file"
)

// A Snapshot is a throw-away snapshot of an image: a BTRFS snapshot, or on an overlay
// store an overlay with a directory for changes. The container's record says that it is
// in use. The holder of a Snapshot must Remove it.
type Snapshot struct {
	Path     string
	Alone    bool // there was no other when this one was made
	name     string
	dir      int // the run directory
	fd       int // the snapshot's root directory on BTRFS, elsewhere the one with upper and work
	overlay  bool
	rootless bool
	lower    int // the image's root directory, the image's own
}

// Snapshot makes a throw-away snapshot of an image, which must stay open while the
// snapshot exists. The container's record must exist already. name is from SnapshotName. On
// BTRFS the call lasts as long as a commit.
//
// The snapshot is writable, since missing mount points are made in it. The mount's
// attributes decide whether the container may write.
func (s *Store) Snapshot(i *Image, name string) (*Snapshot, error) {
	dir, err := s.runDir()
	if err != nil {
		return nil, err
	}
	snap := &Snapshot{Path: ref.SnapshotPath(s.Path, name), name: name, dir: dir, fd: -1, overlay: !s.BTRFS, rootless: s.Here.Rootless(), lower: i.fd}
	if snap.Alone, err = empty(dir); err == nil {
		err = snap.make()
	}
	if err != nil {
		unix.Close(dir)
		return nil, fmt.Errorf("copy image %s: %w", i.Path, file.ReadOnly(err, s.Path))
	}
	if snap.fd, err = openHere(dir, name); err == nil && snap.overlay {
		err = snap.makeLayers()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("copy image %s: %w", i.Path, err), snap.Remove())
	}
	return snap, nil
}

func (s *Snapshot) make() error {
	if s.overlay {
		return unix.Mkdirat(s.dir, s.name, 0o700)
	}
	return btrfs.Snapshot(s.dir, s.name, s.lower, false)
}

// Mount makes a detached mount of the snapshot, with these attributes (MOUNT_ATTR_*).
// The caller owns it. With a user namespace (nil: none) the mount's ids are mapped: see
// mount.Tree.MapIDs. In an overlay the layers are mapped. For that the thread must act
// on files as root of that namespace.
func (s *Snapshot) Mount(attrs uint64, userns *os.File) (mount.Tree, error) {
	switch {
	case !s.overlay:
		return mountTree(s.fd, attrs, userns)
	case userns != nil:
		return s.mountMappedOverlay(attrs, int(userns.Fd()))
	}
	return s.mountOverlay(attrs)
}

// Mount makes a detached mount of the image's root file system itself, with these
// attributes and mapped ids. The caller owns it.
func (i *Image) Mount(attrs uint64, userns *os.File) (mount.Tree, error) {
	return mountTree(i.fd, attrs, userns)
}

func mountTree(fd int, attrs uint64, userns *os.File) (mount.Tree, error) {
	tree, err := mount.Clone(fd, "", false)
	if err != nil {
		return tree, err
	}
	err = tree.SetAttrs(attrs, 0, false)
	if err == nil && userns != nil {
		err = tree.MapIDs(int(userns.Fd()))
	}
	if err != nil {
		return mount.Tree{}, errors.Join(err, tree.Close())
	}
	return tree, nil
}

// mountOverlay mounts an overlay of an empty directory over the image. The kernel
// accesses the layers with the rights of the mounting thread, which must have
// OverlayCapabilities.
func (s *Snapshot) mountOverlay(attrs uint64) (mount.Tree, error) {
	here := func(fd int, name string) string { return fmt.Sprintf("/proc/self/fd/%d/%s", fd, name) }
	return mount.New("overlay", append(s.overlayOptions(), "lowerdir="+here(s.lower, "."), "upperdir="+here(s.fd, "upper"), "workdir="+here(s.fd, "work")), attrs)
}

// overlayOptions are options for an overlay that need not survive a power loss, nor be
// mounted again.
func (s *Snapshot) overlayOptions() []string {
	options := []string{"source=overlay", "volatile", "index=off", "metacopy=off", "redirect_dir=nofollow"}
	if s.rootless {
		options = append(options, "userxattr") // trusted.* are the host's root's (since Linux 5.11)
	}
	return options
}

// mountMappedOverlay passes the layers to the kernel as descriptors of detached mounts.
func (s *Snapshot) mountMappedOverlay(attrs uint64, userns int) (mount.Tree, error) {
	var fds []int
	defer func() { file.CloseAll(fds) }()
	for _, layer := range []int{s.lower, s.fd} {
		tree, err := mount.Clone(layer, "", false)
		if err != nil {
			return mount.Tree{}, err
		}
		fds = append(fds, tree.FD())
		if err := tree.MapIDs(userns); err != nil {
			return mount.Tree{}, err
		}
	}
	for _, name := range []string{"upper", "work"} {
		fd, err := unix.Openat(fds[1], name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return mount.Tree{}, fmt.Errorf("overlay %s: %w", name, err)
		}
		fds = append(fds, fd)
	}
	return mount.New("overlay", s.overlayOptions(), attrs,
		mount.File{Parameter: "lowerdir+", FD: fds[0]}, mount.File{Parameter: "upperdir", FD: fds[2]}, mount.File{Parameter: "workdir", FD: fds[3]})
}

// makeLayers makes the directories upper and work of the overlay.
func (s *Snapshot) makeLayers() error {
	var top unix.Stat_t
	if err := unix.Fstat(s.lower, &top); err != nil {
		return err
	}
	for _, name := range []string{"upper", "work"} {
		if err := unix.Mkdirat(s.fd, name, 0o700); err != nil {
			return fmt.Errorf("overlay %s: %w", name, err)
		}
	}
	// The overlay's root directory has the attributes of upper.
	err := errors.Join(unix.Fchownat(s.fd, "upper", int(top.Uid), int(top.Gid), unix.AT_SYMLINK_NOFOLLOW),
		unix.Fchmodat(s.fd, "upper", top.Mode&0o7777, 0))
	if err != nil {
		return fmt.Errorf("overlay: %w", err)
	}
	return nil
}

// empty returns whether a directory contains no directories, from the number of its
// links. On BTRFS, where that is always 1, it returns whether there are no entries at
// all, from the size, which is that of the names. Both are cheaper than a list.
func empty(dir int) (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(dir, &st); err != nil {
		return false, fmt.Errorf("fstat: %w", err)
	}
	return st.Nlink == 1 && st.Size == 0 || st.Nlink == 2, nil
}

// FD returns the descriptor of a root directory with the snapshot's files, for reading
// ahead. The Snapshot or the Image owns it.
func (s *Snapshot) FD() int {
	if s.overlay {
		return s.lower
	}
	return s.fd
}

// Remove deletes the snapshot.
func (s *Snapshot) Remove() error {
	if err := removeAndClose(s.dir, s.name, s.fd); err != nil {
		return fmt.Errorf("remove snapshot %s: %w", s.Path, err)
	}
	return nil
}

// removeAndClose removes a container's entry of the run directory, and closes the
// descriptors of that directory and of the entry; -1: that is not open.
func removeAndClose(dir int, name string, entry int) error {
	err := removeTree(dir, name)
	if entry >= 0 {
		unix.Close(entry)
	}
	unix.Close(dir)
	return err
}
