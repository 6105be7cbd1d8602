package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/btrfs"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/state"
)

// Remove removes an image with all its versions. One that a container runs on is not removed; if wait is set, no
// new container can have it at once, and it is removed when the last one has ended. When the context ends before that,
// the image is as it was.
func (s *Store) Remove(ctx context.Context, name string, wait bool) error {
	dir, plain, err := s.openImage(name)
	if err != nil {
		return err
	}
	unix.Close(dir)
	if plain {
		err = s.removePlain(ctx, name, wait)
	} else {
		err = s.removeImage(ctx, name, wait)
	}
	if err != nil {
		return fmt.Errorf("remove image %s: %w", name, err)
	}
	return nil
}

// removePlain removes a root file system that somebody has made by hand. There is no lock on one: who runs on it
// is looked up.
func (s *Store) removePlain(ctx context.Context, name string, wait bool) error {
	for {
		users, err := runningOn(name)
		if err != nil {
			return err
		}
		if len(users) == 0 {
			return errors.Join(removeTree(s.fd, name), s.Reclaim())
		}
		if !wait {
			return fmt.Errorf("it %w by %s", ErrInUse, strings.Join(users, ", "))
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// runningOn lists the containers of an image.
func runningOn(name string) ([]string, error) {
	records, err := state.List(func(uint32) bool { return true })
	var names []string
	for _, r := range records {
		if r.Image == name || strings.HasPrefix(r.Image, name+"@") {
			names = append(names, r.Name)
		}
	}
	return names, err
}

// waitStep is how often it is looked whether an image is in use still.
const waitStep = 50 * time.Millisecond

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return errors.New("interrupted, it is as it was")
	case <-time.After(waitStep):
		return nil
	}
}

func (s *Store) removeImage(ctx context.Context, name string, wait bool) error {
	dir, err := s.lockImage(name)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	if !wait {
		locks, err := lockVersions(dir)
		if err != nil {
			return s.explainUse(name, err)
		}
		defer file.CloseAll(locks)
	}
	run, err := s.runDir()
	if err != nil {
		return err
	}
	defer unix.Close(run)
	// From here on it is a leftover, should we be killed. The lock on its directory keeps collectors away.
	hidden, err := randomName(removedPrefix)
	if err == nil {
		err = unix.Renameat2(s.fd, name, run, hidden, unix.RENAME_NOREPLACE)
	}
	if err != nil {
		return err
	}
	for wait {
		locks, err := lockVersions(dir)
		if err == nil {
			defer file.CloseAll(locks)
			break
		}
		if errors.Is(err, ErrInUse) {
			err = pause(ctx)
		}
		if err != nil {
			return errors.Join(err, unix.Renameat2(run, hidden, s.fd, name, unix.RENAME_NOREPLACE))
		}
	}
	return errors.Join(removeImageDirectory(run, hidden, dir), s.Reclaim())
}

// removedPrefix begins the names of images in the run directory that are being removed.
const removedPrefix = ".removed-"

func (s *Store) explainUse(name string, err error) error {
	if users, listed := runningOn(name); listed == nil && len(users) > 0 && errors.Is(err, ErrInUse) {
		return fmt.Errorf("it %w by %s; --force waits for the end", ErrInUse, strings.Join(users, ", "))
	}
	return err
}

// lockVersions locks all versions of an image against use. The caller closes the descriptors.
func lockVersions(dir int) ([]int, error) {
	list, err := versions(dir)
	if err != nil {
		return nil, err
	}
	var locks []int
	for _, n := range list {
		fd, err := lockVersion(dir, n)
		if err != nil {
			file.CloseAll(locks)
			return nil, err
		}
		locks = append(locks, fd)
	}
	return locks, nil
}

// lockVersion locks a version against use, which is ErrInUse if somebody uses it. The caller closes the descriptor.
func lockVersion(dir, version int) (int, error) {
	fd, err := unix.Openat(dir, recordName(version), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("version %d: %w", version, err)
	}
	taken, err := lock(fd)
	if err == nil && !taken {
		err = fmt.Errorf("version %d %w", version, ErrInUse)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// removeVersion removes what there is of a version. The record goes first: without it there is no version. The caller
// has the image's lock, and one on the version if it was ever there for others.
func removeVersion(dir, version int) error {
	if err := unix.Unlinkat(dir, recordName(version), 0); err != nil && err != unix.ENOENT {
		return fmt.Errorf("remove the record of version %d: %w", version, err)
	}
	err := removeTree(dir, strconv.Itoa(version))
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove version %d: %w", version, err)
	}
	return nil
}

// removeTree removes a subvolume or a directory with all that is in it, subvolumes too. What is not there is ENOENT.
// No symbolic link is followed: os.Root refuses to leave the directory.
func removeTree(dir int, name string) error {
	err := btrfs.Delete(dir, name)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return err
	}
	subvolume := errors.Is(err, unix.ENOTEMPTY)
	if subvolume || onBTRFS(dir) {
		if err := deleteNested(dir, name); err != nil {
			return err
		}
	}
	if subvolume {
		return btrfs.Delete(dir, name)
	}
	root, err := os.OpenRoot("/proc/self/fd/" + strconv.Itoa(dir))
	if err != nil {
		return err
	}
	defer root.Close()
	return root.RemoveAll(name)
}

func onBTRFS(fd int) bool {
	on, err := btrfs.Is(fd)
	return on && err == nil
}

// deleteNested deletes the subvolumes inside a directory or subvolume.
func deleteNested(dir int, name string) error {
	nested, err := subvolumesIn(dir, name)
	if err != nil {
		return err
	}
	for _, one := range nested {
		parent, err := openDirectory(dir, filepath.Dir(one))
		if err != nil {
			return fmt.Errorf("open %s: %w", filepath.Dir(one), err)
		}
		err = btrfs.Delete(parent, filepath.Base(one))
		unix.Close(parent)
		if err != nil {
			return err
		}
	}
	return nil
}

// removeImageDirectory removes the directory of an image, which nobody uses, from dir: its versions first, which takes
// no walk through them.
func removeImageDirectory(dir int, name string, image int) error {
	list, err := entries(image, ".")
	if err != nil {
		return err
	}
	for _, entry := range list {
		if n, ok := parseVersion(entry.Name()); ok {
			if err := removeVersion(image, n); err != nil {
				return err
			}
		}
	}
	return removeTree(dir, name)
}

// subvolumesIn finds the subvolumes below one, innermost first. It never follows
// a symbolic link: os.Root refuses to leave the directory.
func subvolumesIn(dir int, name string) ([]string, error) {
	var found []string
	root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", dir))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), name, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() || path == name {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Sys().(*syscall.Stat_t).Ino == btrfs.FirstFreeObjectID {
			found = append([]string{path}, found...)
		}
		return nil
	})
	return found, err
}
