package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/image/ref"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/internal/lock"
	"mayfly/runtime/state"
)

// Everybody instead of an owner means all owners, and entries without an owner.
const Everybody = -1

// Collect removes leftovers of dead processes from the run directory. Those of an owner
// are snapshots, and sessions that were not completely made or removed. With Everybody,
// which is for root, it also removes drafts that were not sealed and images that were
// not completely removed. It stops when the context is done, or after limit entries (0:
// all). It returns the names of what it removed; for a snapshot, the name of its
// container.
//
// Only root collects across owners: a collector that its caller has stopped keeps its
// locks, and would keep them from everybody.
func (s *Store) Collect(ctx context.Context, owner int64, limit int) ([]string, error) {
	dir, err := s.runDir()
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	list, err := entries(dir, ".")
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", filepath.Join(s.Path, ref.RunDirectory), err)
	}
	var removed []string
	var errs []error
	looked := 0
	for _, entry := range list {
		name, beside := strings.CutSuffix(entry.Name(), heldSuffix)
		if owner != Everybody && owner != int64(ownerOf(name)) {
			continue
		}
		if looked++; ctx.Err() != nil || limit > 0 && looked > limit {
			break
		}
		gone, err := s.collect(dir, name)
		if err != nil {
			errs = append(errs, err)
		}
		if gone && !beside {
			removed = append(removed, s.called(name, owner))
		}
	}
	return removed, errors.Join(errs...)
}

// nobody is the owner of drafts and images, which are the administrator's. ((uid_t)-1
// is not a user.)
const nobody = 1<<32 - 1

// ownerOf returns the owner of an entry of the run directory.
func ownerOf(name string) uint32 {
	name, _ = ofSession(name)
	if c, ok := ref.ParseSnapshot(name); ok {
		return c.Owner
	}
	return nobody
}

// called returns the name of an entry for people: for a snapshot, the name of its
// container, with the owner's uid if root collects for Everybody.
func (s *Store) called(name string, owner int64) string {
	c, ok := ref.ParseSnapshot(name)
	switch {
	case !ok:
		return name
	case owner == Everybody && !s.Here.Rootless():
		return fmt.Sprintf("%d/%s", c.Owner, c.Container)
	}
	return c.Container
}

// lives returns whether a process works on an entry. If that is unknown, it returns
// true. It takes no lock.
func (s *Store) lives(dir int, name string) bool {
	if c, ok := ref.ParseSnapshot(name); ok {
		return state.Lives(s.Here, c.Owner, c.Container, name)
	}
	return isHeld(dir, name)
}

// collect removes one entry unless a process works on it. For a snapshot the
// container's record says whether that process lives. Other entries have a hold. The
// collector takes it until the entry is removed, so that only one of two collectors
// does so.
func (s *Store) collect(dir int, name string) (gone bool, err error) {
	if _, is := ref.ParseSnapshot(name); is {
		if s.lives(dir, name) {
			return false, nil
		}
		return told(name, removeTree(dir, name))
	}
	if strings.HasPrefix(name, partPrefix) {
		return collectPart(dir, name)
	}
	held, err := takeHold(dir, name)
	if err != nil {
		return told(name, err)
	}
	if held == nil {
		return s.collectStalled(dir, name)
	}
	gone, err = told(name, s.removeEntry(dir, name))
	if err != nil {
		unix.Close(held.fd)
		return gone, err
	}
	return gone, held.release()
}

// told returns whether this process removed an entry. It is no error if another process
// uses the entry, or has removed it.
func told(name string, err error) (gone bool, problem error) {
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, ErrInUse):
		return false, nil
	}
	return false, fmt.Errorf("remove %s: %w", name, err)
}

// stalled is how long the start or end of a session may take: many times as long as for
// the largest image. After that, the caller has probably stopped it.
const stalled = 24 * time.Hour

// collectStalled removes a session that a process has been making or removing for too
// long. If the process continues, it finds no session.
func (s *Store) collectStalled(dir int, name string) (bool, error) {
	if _, is := ofSession(name); !is || os.Getuid() != 0 {
		return false, nil
	}
	var st unix.Stat_t
	err := unix.Fstatat(dir, name+heldSuffix, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil || time.Since(time.Unix(st.Mtim.Unix())) < stalled {
		return told(name, err)
	}
	gone, err := told(name, s.removeEntry(dir, name))
	if gone {
		err = unix.Unlinkat(dir, name+heldSuffix, 0)
	}
	return gone, err
}

// removeEntry removes an entry on which no process works.
func (s *Store) removeEntry(dir int, name string) error {
	fd, err := openHere(dir, name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, is := ofSession(name); is {
		return removeSession(dir, name, fd)
	}
	if strings.HasPrefix(name, removedPrefix) || strings.HasPrefix(name, imagePrefix) {
		locks, err := lockVersions(fd)
		if err != nil {
			return err
		}
		defer file.CloseAll(locks)
		return removeImageDirectory(dir, name, fd)
	}
	return removeTree(dir, name)
}

// Sweep removes leftovers of interrupted changes from the directories of images:
// versions without a record, and records without a version. It returns their names. It
// skips an image that a process is changing. It is for root.
func (s *Store) Sweep() ([]string, error) {
	list, err := entries(s.fd, ".")
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", s.Path, err)
	}
	var removed []string
	for _, entry := range list {
		if !entry.IsDir() || ref.CheckName("image", entry.Name()) != nil {
			continue
		}
		gone, err := s.sweep(entry.Name())
		removed = append(removed, gone...)
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}

func (s *Store) sweep(name string) (removed []string, err error) {
	dir, err := s.openVersions(name)
	if err != nil {
		return nil, nil // nothing that has versions
	}
	defer unix.Close(dir)
	if taken, err := lock.TryTurn(dir); err != nil || !taken {
		return nil, err
	}
	if s.checkThere(name, dir) != nil {
		return nil, nil // it has just been moved away
	}
	whole, err := versions(dir)
	if err != nil {
		return nil, err
	}
	list, err := entries(dir, ".")
	if err != nil {
		return nil, err
	}
	for _, entry := range list {
		n, ok := ref.ParseVersion(strings.TrimSuffix(entry.Name(), ".json"))
		if !ok || slices.Contains(whole, n) {
			continue
		}
		if err := removeVersion(dir, n); err != nil {
			return removed, fmt.Errorf("image %s: %w", name, err)
		}
		removed = append(removed, name+"/"+entry.Name())
	}
	if err := unix.Unlinkat(dir, currentDraft, 0); err == nil {
		removed = append(removed, name+"/"+currentDraft)
	} else if err != unix.ENOENT {
		return removed, fmt.Errorf("image %s: %w", name, err)
	}
	return removed, nil
}

// stillThere returns whether a name still leads to an open file. It compares device
// numbers, too: each subvolume has its own, and inode numbers repeat.
func stillThere(dir int, name string, fd int) (bool, error) {
	var open, named unix.Stat_t
	err := unix.Fstat(fd, &open)
	if err == nil {
		err = unix.Fstatat(dir, name, &named, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == unix.ENOENT {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("stat %s: %w", name, err)
	}
	return open.Dev == named.Dev && open.Ino == named.Ino, nil
}
