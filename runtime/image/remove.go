package image

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/btrfs"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/image/tree"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/internal/lock"
	"mayfly/runtime/state"
)

// A Wait says how long a removal waits for containers that run on the image. The zero value
// does not wait.
type Wait struct {
	Most time.Duration
	Tell func(text string) // is told once who is waited for
}

// Remove removes an image with all its versions. One that a container runs on is not
// removed; with a wait no new container can have it at once, and it is removed when the
// last one has ended. When the context or the wait ends before that, the image is as it
// was, and the error names who uses it.
func (s *Store) Remove(ctx context.Context, name string, wait Wait) error {
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

// removePlain removes a root file system that somebody has made by hand. No mark is on one: who
// runs on it is looked up.
func (s *Store) removePlain(ctx context.Context, name string, wait Wait) error {
	err := wait.until(ctx, func() error {
		users, err := s.runningOn(name)
		if err == nil && len(users) > 0 {
			err = usedBy(users)
		}
		return err
	}, func(err error) error { return err })
	if err != nil {
		return err
	}
	return errors.Join(removeTree(s.fd, name), s.Reclaim())
}

// until tries as long as it finds something in use, and the wait and the context last. explain
// says by what.
func (w Wait) until(ctx context.Context, try func() error, explain func(error) error) error {
	begun, told := time.Now(), w.Tell == nil
	for {
		err := try()
		if !errors.Is(err, ErrInUse) {
			return err
		}
		if over := time.Since(begun) >= w.Most; over && w.Most > 0 {
			return fmt.Errorf("after %v %w; `runtime kill OWNER/NAME` ends a container", w.Most, explain(err))
		} else if over {
			return explain(err)
		}
		if !told {
			w.Tell(explain(err).Error() + ": waiting")
			told = true
		}
		select {
		case <-ctx.Done():
			return errors.New("interrupted, it is as it was")
		case <-time.After(waitStep):
		}
	}
}

// waitStep is how often it is looked whether an image is in use still.
const waitStep = 50 * time.Millisecond

// usedBy is ErrInUse with who it is.
func usedBy(users []string) error {
	return fmt.Errorf("it %w by %s", ErrInUse, strings.Join(users, ", "))
}

// runningOn lists the containers of an image, with their owners and supervisors.
func (s *Store) runningOn(name string) ([]string, error) {
	records, err := state.ListAll(s.Here)
	var names []string
	for _, r := range records {
		if r.Image == name || strings.HasPrefix(r.Image, name+"@") {
			names = append(names, fmt.Sprintf("%s (user %d, process %d)", r.Name, r.UID, r.PID))
		}
	}
	return names, err
}

func (s *Store) removeImage(ctx context.Context, name string, wait Wait) error {
	dir, err := s.changeImage(name)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	if wait.Most == 0 {
		locks, err := lockVersions(dir)
		if err != nil {
			return s.explainUse(name, dir, err)
		}
		defer file.CloseAll(locks)
	}
	run, err := s.runDir()
	if err != nil {
		return err
	}
	defer unix.Close(run)
	return s.removeHidden(ctx, name, dir, run, wait)
}

// removeHidden moves the image away, so that it has no new users, and removes it when the last
// has gone. From there on it is a leftover, should we be killed.
func (s *Store) removeHidden(ctx context.Context, name string, dir, run int, wait Wait) error {
	hidden, err := randomName(removedPrefix)
	if err != nil {
		return err
	}
	held, err := holdEntry(run, hidden)
	if err != nil {
		return err
	}
	if err := unix.Renameat2(s.fd, name, run, hidden, unix.RENAME_NOREPLACE); err != nil {
		return errors.Join(err, held.release())
	}
	var locks []int
	if wait.Most > 0 {
		err = wait.until(ctx, func() (err error) {
			locks, err = lockVersions(dir)
			return err
		}, func(err error) error { return s.explainUse(name, dir, err) })
	}
	if err != nil {
		return errors.Join(err, unix.Renameat2(run, hidden, s.fd, name, unix.RENAME_NOREPLACE), held.release())
	}
	defer file.CloseAll(locks)
	if err := removeImageDirectory(run, hidden, dir); err != nil {
		unix.Close(held.fd) // a collector goes on
		return err
	}
	return errors.Join(held.release(), s.Reclaim())
}

// removedPrefix begins the names of images in the run directory that are being removed.
const removedPrefix = ".removed-"

// explainUse says by what an open image is in use: containers, or processes that are none yet.
func (s *Store) explainUse(name string, dir int, err error) error {
	if !errors.Is(err, ErrInUse) {
		return err
	}
	users, listed := s.runningOn(name)
	if listed != nil || len(users) == 0 {
		users = holdersOf(dir)
	}
	if len(users) == 0 {
		return err
	}
	return usedBy(users)
}

// holdersOf finds the processes that have marked versions of an image.
func holdersOf(dir int) (users []string) {
	list, err := versions(dir)
	if err != nil {
		return nil
	}
	for _, n := range list {
		fd, err := unix.Openat(dir, recordName(n), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		for _, h := range lock.Holders(fd) {
			users = append(users, h.String())
		}
		unix.Close(fd)
	}
	return users
}

// lockVersions marks all versions of an image as this process's alone. The caller
// closes the descriptors.
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

// lockVersion marks a version as this process's alone, which is ErrInUse if somebody
// uses it. The caller closes the descriptor. An earlier version of the program marked
// what it used by flock(2).
func lockVersion(dir, version int) (int, error) {
	fd, err := unix.Openat(dir, recordName(version), unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("version %d: %w", version, err)
	}
	taken, err := lock.Mark(fd)
	if err == nil && taken {
		taken, err = lock.TryTurn(fd)
	}
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
// has the image's turn, and has marked the version if it was ever there for others.
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

// removeTree removes a subvolume or a directory with all that is in it, subvolumes too,
// however deep it is: a user's run can leave more directories in each other than a
// process may have descriptors. No symbolic link is followed.
func removeTree(dir int, name string) error {
	err := btrfs.Delete(dir, name)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return err
	}
	if errors.Is(err, unix.ENOTEMPTY) || onBTRFS(dir) {
		if err := tree.Directories(dir, name, deleteSubvolume); err != nil {
			return err
		}
	}
	return tree.Remove(dir, name, nil)
}

func onBTRFS(fd int) bool {
	on, err := btrfs.Is(fd)
	return on && err == nil
}

// deleteSubvolume deletes a directory that is a subvolume.
func deleteSubvolume(above int, name string, inode uint64) error {
	if inode != btrfs.FirstFreeObjectID {
		return nil
	}
	return btrfs.Delete(above, name)
}

// removeImageDirectory removes the directory of an image, which nobody uses, from dir: its versions first, which takes
// no walk through them.
func removeImageDirectory(dir int, name string, image int) error {
	list, err := entries(image, ".")
	if err != nil {
		return err
	}
	for _, entry := range list {
		if n, ok := ref.ParseVersion(entry.Name()); ok {
			if err := removeVersion(image, n); err != nil {
				return err
			}
		}
	}
	return removeTree(dir, name)
}
