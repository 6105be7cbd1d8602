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

// A Wait says how long a removal waits for the image's containers. The zero value does
// not wait.
type Wait struct {
	Most time.Duration
	Tell func(text string) // is told once who is waited for
}

// Remove removes an image with all its versions. Without a wait, an image that a
// container uses is not removed. With a wait, new launches are refused at once, and the
// image is removed when its last container has ended. If the context or the wait ends
// before that, the image stays, and the error names the containers.
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

// removePlain removes a plain image. It has no mark, so removePlain looks for its
// containers in the records.
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

// until calls try until it does not return ErrInUse, or the wait or the context ends.
// explain adds to the error who uses it.
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

// waitStep is the interval in which until calls try.
const waitStep = 50 * time.Millisecond

// usedBy returns an ErrInUse that names the users.
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

// removeHidden moves the image away, so that no launch finds it, and removes it when
// its last container has ended. If this process is killed after that, the image is a
// leftover.
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

// removedPrefix starts the names of images in the run directory that are being removed.
const removedPrefix = ".removed-"

// explainUse adds to an error what uses an open image: containers, or processes that
// are launching one.
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

// lockVersions marks all versions of an image exclusively. The caller must close the
// descriptors.
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

// lockVersion marks a version exclusively. It returns ErrInUse if a process uses the
// version. The caller must close the descriptor. Earlier versions of the program marked
// what they used with flock(2).
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

// removeVersion removes a version, which may be incomplete. It removes the record
// first: without a record there is no version. The caller has the image's turn. It has
// also marked the version, if other processes could see it.
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

// removeTree removes a subvolume or a directory with its content, including subvolumes.
// The tree may be deeper than the number of descriptors that a process may have: a
// user's run can make it so. Symbolic links are not followed.
func removeTree(dir int, name string) error {
	err := btrfs.Delete(dir, name)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return err
	}
	if errors.Is(err, unix.ENOTEMPTY) || onBTRFS(dir) {
		err := tree.Directories(dir, name, deleteSubvolume)
		if errors.Is(err, unix.EROFS) { // a user can make a subvolume read-only, with others in it
			if err = tree.Directories(dir, name, makeWritable); err == nil {
				err = tree.Directories(dir, name, deleteSubvolume)
			}
		}
		if err != nil {
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

// makeWritable makes a directory that is a subvolume writable. The thread needs to own it
// or to have CAP_FOWNER effective.
func makeWritable(above int, name string, inode uint64) error {
	if inode != btrfs.FirstFreeObjectID {
		return nil
	}
	fd, err := openHere(above, name)
	if err != nil {
		return err
	}
	return errors.Join(btrfs.SetReadOnly(fd, false), unix.Close(fd))
}

// removeImageDirectory removes the directory of an unused image from dir. It deletes
// the versions as subvolumes first, without a walk through them.
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
