package image

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"mayfly/btrfs"
)

// ErrNameTaken means that a container of that name is running.
var ErrNameTaken = errors.New("container name is in use")

// A Snapshot is a throw-away copy of an image. The lock on its root directory
// says that its supervisor lives: the kernel drops the lock with the process,
// however that ends. Its holder must Remove it.
type Snapshot struct {
	Path  string
	Alone bool // there was no other snapshot when this one was made
	name  string
	dir   int // the run directory
	fd    int // the snapshot's root directory, locked
}

// SnapshotPath is where the snapshot for a container is while it runs.
func SnapshotPath(store, container string) string {
	return filepath.Join(store, runDirectory, container)
}

// newborn bounds how often a snapshot is made again because a collector took it
// for an orphan between its creation and its lock.
const newborn = 8

// Snapshot makes a snapshot of an image for the container name. It lasts a BTRFS
// transaction commit.
//
// The snapshot is writable as a subvolume, since missing mount points are made
// in it; whether the container may write is for the mount to say.
func (s *Store) Snapshot(i *Image, name string) (*Snapshot, error) {
	if err := CheckName("container", name); err != nil {
		return nil, err
	}
	dir, err := s.runDir()
	if err != nil {
		return nil, err
	}
	snap := &Snapshot{Path: SnapshotPath(s.Path, name), name: name, dir: dir, fd: -1}
	if snap.Alone, err = empty(dir); err != nil {
		unix.Close(dir)
		return nil, err
	}
	for range newborn {
		err := btrfs.Snapshot(dir, name, i.fd, false)
		if errors.Is(err, unix.EEXIST) {
			err = fmt.Errorf("%w: %s", ErrNameTaken, name)
		}
		if err != nil {
			unix.Close(dir)
			return nil, fmt.Errorf("snapshot image %s: %w", i.Path, err)
		}
		if snap.fd, err = claim(dir, name); err == nil {
			return snap, nil
		}
		if !errors.Is(err, errCollected) {
			return nil, errors.Join(err, snap.Remove())
		}
	}
	unix.Close(dir)
	return nil, fmt.Errorf("snapshot image %s: removed as an orphan %d times before it could be locked", i.Path, newborn)
}

// empty tells whether a BTRFS directory has no entries: its size is that of their
// names. That is cheaper than to list it.
func empty(dir int) (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(dir, &st); err != nil {
		return false, fmt.Errorf("fstat: %w", err)
	}
	return st.Size == 0, nil
}

var errCollected = errors.New("collected")

// claim opens and locks a snapshot that was just made, and makes sure that it is
// still there under its name.
func claim(dir int, name string) (int, error) {
	fd, err := openSnapshot(dir, name)
	if errors.Is(err, unix.ENOENT) {
		return -1, errCollected
	}
	if err != nil {
		return -1, fmt.Errorf("open snapshot %s: %w", name, err)
	}
	taken, err := lock(fd)
	if err == nil && (!taken || !stillThere(dir, name, fd)) {
		err = errCollected
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func openSnapshot(dir int, name string) (int, error) {
	return unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// stillThere compares device numbers: every subvolume has one of its own.
func stillThere(dir int, name string, fd int) bool {
	var open, named unix.Stat_t
	return unix.Fstat(fd, &open) == nil &&
		unix.Fstatat(dir, name, &named, unix.AT_SYMLINK_NOFOLLOW) == nil &&
		open.Dev == named.Dev && open.Ino == named.Ino
}

// FD returns the descriptor of the snapshot's root directory, owned by the Snapshot.
func (s *Snapshot) FD() int { return s.fd }

// Remove deletes the snapshot and gives up its lock, in this order.
func (s *Snapshot) Remove() error {
	err := deleteTree(s.dir, s.name)
	if s.fd >= 0 {
		unix.Close(s.fd)
	}
	unix.Close(s.dir)
	if err != nil {
		return fmt.Errorf("remove snapshot %s: %w", s.Path, err)
	}
	return nil
}

// Collect removes the snapshots whose supervisor is gone: those that nobody has
// locked. It looks at as many as it can until the context is done and at most
// limit of them (0: all), and returns the names of what it removed.
func (s *Store) Collect(ctx context.Context, limit int) ([]string, error) {
	dir, err := s.runDir()
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	list, err := entries(dir, ".")
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", filepath.Join(s.Path, runDirectory), err)
	}
	var removed []string
	var errs []error
	for n, entry := range list {
		if ctx.Err() != nil || limit > 0 && n >= limit {
			break
		}
		gone, err := collect(dir, entry.Name())
		if err != nil {
			errs = append(errs, err)
		}
		if gone {
			removed = append(removed, entry.Name())
		}
	}
	return removed, errors.Join(errs...)
}

// collect removes one snapshot unless it is locked. The lock is held until the
// snapshot is gone, so that of two collectors one does it.
func collect(dir int, name string) (bool, error) {
	fd, err := openSnapshot(dir, name)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open snapshot %s: %w", name, err)
	}
	defer unix.Close(fd)
	if is, err := btrfs.IsSubvolume(fd); err != nil || !is {
		return false, err
	}
	if taken, err := lock(fd); err != nil || !taken {
		return false, err
	}
	if !stillThere(dir, name, fd) {
		return false, nil
	}
	if err := deleteTree(dir, name); err != nil {
		return false, err
	}
	return true, nil
}
