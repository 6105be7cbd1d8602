package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"mayfly/btrfs"
	"mayfly/mount"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/internal/realm"
)

// ErrNameTaken means that a container of that name is running.
var ErrNameTaken = errors.New("container name is in use")

// A Snapshot is a throw-away copy of an image: a snapshot on BTRFS, elsewhere an overlay with a directory for what
// is changed. The lock on its directory says that its supervisor lives: the kernel drops the lock with the process,
// however that ends. Its holder must Remove it.
type Snapshot struct {
	Path    string
	Alone   bool // there was no other when this one was made
	name    string
	dir     int // the run directory
	fd      int // the snapshot's root directory on BTRFS, elsewhere the one with upper and work; locked
	overlay bool
	lower   int // the image's root directory, the image's own
}

// SnapshotPath is where the copy for a container is while it runs.
func SnapshotPath(store, container string) string {
	return filepath.Join(store, runDirectory, container)
}

// newborn bounds how often a snapshot is made again because a collector took it
// for an orphan between its creation and its lock.
const newborn = 8

// Snapshot makes a throw-away copy of an image, which must stay open as long, for the container name. On BTRFS it lasts
// a transaction commit.
//
// The copy is writable, since missing mount points are made in it; whether the container may write is for the
// mount to say.
func (s *Store) Snapshot(i *Image, name string) (*Snapshot, error) {
	if err := CheckName("container", name); err != nil {
		return nil, err
	}
	dir, err := s.runDir()
	if err != nil {
		return nil, err
	}
	snap := &Snapshot{Path: SnapshotPath(s.Path, name), name: name, dir: dir, fd: -1, overlay: !s.BTRFS, lower: i.fd}
	if snap.Alone, err = empty(dir); err != nil {
		unix.Close(dir)
		return nil, err
	}
	for range newborn {
		if snap.overlay {
			err = unix.Mkdirat(dir, name, 0o700)
		} else {
			err = btrfs.Snapshot(dir, name, i.fd, false)
		}
		if errors.Is(err, unix.EEXIST) {
			err = fmt.Errorf("%w: %s", ErrNameTaken, name)
		}
		if err != nil {
			unix.Close(dir)
			return nil, fmt.Errorf("copy image %s: %w", i.Path, err)
		}
		if snap.fd, err = claim(dir, name); err == nil && snap.overlay {
			err = snap.makeLayers()
		}
		if err == nil {
			return snap, nil
		}
		if !errors.Is(err, errCollected) {
			return nil, errors.Join(err, snap.Remove())
		}
	}
	unix.Close(dir)
	return nil, fmt.Errorf("copy image %s: removed as an orphan %d times before it could be locked", i.Path, newborn)
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
	return mount.New("overlay", append(overlayOptions(), "lowerdir="+here(s.lower, "."), "upperdir="+here(s.fd, "upper"), "workdir="+here(s.fd, "work")), attrs)
}

// overlayOptions: nothing of it has to survive a loss of power, nor to be found again under another file system.
func overlayOptions() []string {
	options := []string{"source=overlay", "volatile", "index=off", "metacopy=off", "redirect_dir=nofollow"}
	if realm.Own() {
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
	return mount.New("overlay", overlayOptions(), attrs,
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

var errCollected = errors.New("collected")

// claim opens and locks a snapshot that was just made, and makes sure that it is
// still there under its name.
func claim(dir int, name string) (int, error) {
	fd, err := openHere(dir, name)
	if errors.Is(err, unix.ENOENT) {
		return -1, errCollected
	}
	if err != nil {
		return -1, fmt.Errorf("open snapshot %s: %w", name, err)
	}
	taken, err := lock(fd)
	there := false
	if err == nil && taken {
		there, err = stillThere(dir, name, fd)
	}
	if err == nil && !taken {
		err = file.Flock(fd, unix.LOCK_SH) // until the collector has removed it: then the name can be had again
	}
	if err == nil && !there {
		err = errCollected
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// FD returns the descriptor of the root directory whose files will be read, owned by the Snapshot or the Image.
func (s *Snapshot) FD() int {
	if s.overlay {
		return s.lower
	}
	return s.fd
}

// Remove deletes the snapshot and gives up its lock, in this order.
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
