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

// A Snapshot is a throw-away copy of an image: a snapshot on BTRFS, elsewhere an overlay with a
// directory for what is changed. Its container's record says that it is in use. Its holder must
// Remove it.
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

// Snapshot makes a throw-away copy of an image, which must stay open as long, for a container
// whose record is there by now. name is what CopyName says. On BTRFS it lasts a transaction
// commit.
//
// The copy is writable, since missing mount points are made in it; whether the container may write is for the
// mount to say.
func (s *Store) Snapshot(i *Image, name string) (*Snapshot, error) {
	dir, err := s.runDir()
	if err != nil {
		return nil, err
	}
	snap := &Snapshot{Path: ref.CopyPath(s.Path, name), name: name, dir: dir, fd: -1, overlay: !s.BTRFS, rootless: s.Here.Rootless(), lower: i.fd}
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

// Mount makes a detached mount of the copy, with these attributes (MOUNT_ATTR_*). The caller owns it. With a user namespace
// (nil: none) files have the owners that they have there: see mount.Tree.MapIDs. In an overlay it is the layers that are mapped, for which
// the thread must act on files as root of that namespace.
func (s *Snapshot) Mount(attrs uint64, userns *os.File) (mount.Tree, error) {
	switch {
	case !s.overlay:
		return mountTree(s.fd, attrs, userns)
	case userns != nil:
		return s.mountMappedOverlay(attrs, int(userns.Fd()))
	}
	return s.mountOverlay(attrs)
}

// Mount makes a detached mount of the image's root file system itself, with these attributes and owners. The caller owns it.
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

// mountOverlay puts an empty directory over the image. Whoever mounts an overlay lends it their rights: the thread
// must have those of OverlayCapabilities.
func (s *Snapshot) mountOverlay(attrs uint64) (mount.Tree, error) {
	here := func(fd int, name string) string { return fmt.Sprintf("/proc/self/fd/%d/%s", fd, name) }
	return mount.New("overlay", append(s.overlayOptions(), "lowerdir="+here(s.lower, "."), "upperdir="+here(s.fd, "upper"), "workdir="+here(s.fd, "work")), attrs)
}

// overlayOptions: nothing of it has to survive a loss of power, nor to be found again under another file system.
func (s *Snapshot) overlayOptions() []string {
	options := []string{"source=overlay", "volatile", "index=off", "metacopy=off", "redirect_dir=nofollow"}
	if s.rootless {
		options = append(options, "userxattr") // trusted.* are the host's root's (since Linux 5.11)
	}
	return options
}

// mountMappedOverlay hands the layers over as mounts, by descriptor: they are attached nowhere.
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

// makeLayers makes the directories that are put over the image.
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
	// The root directory's attributes are those of the upper one.
	err := errors.Join(unix.Fchownat(s.fd, "upper", int(top.Uid), int(top.Gid), unix.AT_SYMLINK_NOFOLLOW),
		unix.Fchmodat(s.fd, "upper", top.Mode&0o7777, 0))
	if err != nil {
		return fmt.Errorf("overlay: %w", err)
	}
	return nil
}

// empty tells whether a directory has no directories in it, from the number of its links; or no entries at all on
// BTRFS, where that is always 1 and the size is that of the names. That is cheaper than to list it.
func empty(dir int) (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(dir, &st); err != nil {
		return false, fmt.Errorf("fstat: %w", err)
	}
	return st.Nlink == 1 && st.Size == 0 || st.Nlink == 2, nil
}

// FD returns the descriptor of the root directory whose files will be read, owned by the Snapshot or the Image.
func (s *Snapshot) FD() int {
	if s.overlay {
		return s.lower
	}
	return s.fd
}

// Remove deletes the snapshot.
func (s *Snapshot) Remove() error {
	err := removeTree(s.dir, s.name)
	if s.fd >= 0 {
		unix.Close(s.fd)
	}
	unix.Close(s.dir)
	if err != nil {
		return fmt.Errorf("remove snapshot %s: %w", s.Path, err)
	}
	return nil
}
