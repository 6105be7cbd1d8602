package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/image/ref"
	"mayfly/runtime/image/tree"
)

// Rename gives an image another name. Running containers are not affected.
func (s *Store) Rename(from, to string) error {
	if err := ref.CheckName("image", to); err != nil {
		return err
	}
	dir, plain, err := s.openImage(from)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	if plain {
		if users, err := s.runningOn(from); err != nil || len(users) > 0 && !s.BTRFS {
			return errors.Join(err, fmt.Errorf("rename image %s: it %w by %s", from, ErrInUse, strings.Join(users, ", ")))
		}
	}
	err = unix.Renameat2(s.fd, from, s.fd, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EEXIST) {
		err = fmt.Errorf("image %s %w", to, ErrExists)
	}
	if err != nil {
		return fmt.Errorf("rename image %s to %s: %w", from, to, err)
	}
	return s.sync()
}

// Clone makes a new image from a version, or from a plain image.
func (s *Store) Clone(ctx context.Context, from, to string, progress func(int64)) (Record, error) {
	if err := s.CheckFree(to, false); err != nil {
		return Record{}, err
	}
	img, err := s.Image(from)
	if err != nil {
		return Record{}, err
	}
	defer img.Close()
	d, err := s.NewDraft(ctx, img, progress)
	if err != nil {
		return Record{}, err
	}
	how := Sealing{Name: to, Origin: "clone of " + img.String(), Progress: progress}
	if img.Sealed() {
		was, err := s.Record(img.Reference)
		if err != nil {
			return Record{}, errors.Join(err, d.Discard())
		}
		how.Labels, how.Recipe, how.Want, how.Keep = was.Labels, was.Recipe, was.Digest, true
	}
	record, err := d.Seal(ctx, how)
	return record, errors.Join(err, d.Discard())
}

// Again makes a version of an image's version once more, with the number and record that
// it has elsewhere. The current version stays so.
func (s *Store) Again(ctx context.Context, from ref.Reference, as Record, progress func(int64)) (err error) {
	img, err := s.Image(from.String())
	if err != nil {
		return err
	}
	defer img.Close()
	d, err := s.NewDraft(ctx, img, progress)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Discard()) }()
	d.Parent, d.Labels, d.Config = as.Parent, as.Labels, as.Config
	_, err = d.Seal(ctx, Sealing{Name: from.Name, Next: true, Number: as.Version, Stay: true, Origin: as.Origin, Recipe: as.Recipe,
		Want: as.Digest, Keep: true, Progress: progress})
	return err
}

// Rollback makes the version current that a reference names; without a choice the one
// before the current version. Later launches use it. Running containers keep their
// version.
func (s *Store) Rollback(to ref.Reference) (int, error) {
	name := to.Name
	dir, err := s.changeImage(name)
	if err != nil {
		return 0, err
	}
	defer unix.Close(dir)
	list, err := versions(dir)
	if err != nil {
		return 0, err
	}
	version, err := s.choose(dir, to)
	if err != nil {
		return 0, err
	}
	if now := version; !to.Chooses() {
		at, _ := slices.BinarySearch(list, now)
		if at == 0 {
			return 0, fmt.Errorf("image %s has no version before %d", name, now)
		}
		version = list[at-1]
	}
	if !slices.Contains(list, version) {
		return 0, s.unknown(to)
	}
	if err := setCurrent(dir, version); err != nil {
		return 0, fmt.Errorf("image %s: %w", name, err)
	}
	return version, s.sync()
}

// Spare says which old versions of an image stay.
type Spare struct {
	Latest int       // so many of the latest; at least 1
	Since  time.Time // and those that were made or used since then; zero: none
}

// Prune removes the versions of an image except those to be spared, those with a tag,
// and the current one. It returns the removed versions, and those that stay because
// they are in use.
func (s *Store) Prune(name string, spare Spare) (removed, busy []int, err error) {
	if spare.Latest < 1 {
		return nil, nil, errors.New("at least one version must be kept: `runtime image remove` removes an image")
	}
	return s.removeVersions(name, func(dir int, list []int) []int {
		list = list[:max(0, len(list)-spare.Latest)]
		return slices.DeleteFunc(list, func(n int) bool { return spare.recent(dir, n) })
	})
}

// RemoveVersions removes the versions of an image that have gone elsewhere, except
// those with a tag and the current one. It returns what Prune does.
func (s *Store) RemoveVersions(name string, gone func(version int) bool) (removed, busy []int, err error) {
	return s.removeVersions(name, func(_ int, list []int) []int {
		return slices.DeleteFunc(list, func(n int) bool { return !gone(n) })
	})
}

// removeVersions removes the versions that choose returns of those of an image, except
// the current one, those with a tag, and those in use, which are the second result.
func (s *Store) removeVersions(name string, choose func(dir int, list []int) []int) (removed, busy []int, err error) {
	dir, err := s.changeImage(name)
	if err != nil {
		return nil, nil, err
	}
	defer unix.Close(dir)
	list, err := versions(dir)
	if err != nil {
		return nil, nil, err
	}
	return removeUnused(name, dir, choose(dir, list))
}

// removeUnused removes those of an image's versions that are neither current nor tagged
// nor in use.
// The caller has the image's turn.
func removeUnused(name string, dir int, list []int) (removed, busy []int, err error) {
	removed, busy = []int{}, []int{}
	now, err := current(dir)
	if err != nil {
		return removed, busy, err
	}
	tags, err := tags(dir)
	if err != nil {
		return removed, busy, err
	}
	for _, n := range list {
		if n == now || len(tagsOf(tags, n)) > 0 {
			continue
		}
		lock, err := lockVersion(dir, n)
		if errors.Is(err, ErrInUse) {
			busy = append(busy, n)
			continue
		}
		if err == nil {
			err = removeVersion(dir, n)
			unix.Close(lock)
		}
		if err != nil {
			return removed, busy, fmt.Errorf("image %s: %w", name, err)
		}
		removed = append(removed, n)
	}
	return removed, busy, nil
}

// recent tells whether a version was made or used lately. One whose record cannot be
// read stays.
func (s Spare) recent(dir, version int) bool {
	if s.Since.IsZero() {
		return false
	}
	r, used, err := readRecord(dir, version)
	return err != nil || !r.Created.Before(s.Since) || !used.Before(s.Since)
}

// Verify reads a whole version, and compares its content with the digest in its record.
func (s *Store) Verify(ctx context.Context, text string, progress func(int64)) (Record, error) {
	img, err := s.Image(text)
	if err != nil {
		return Record{}, err
	}
	defer img.Close()
	if !img.Sealed() {
		return Record{}, fmt.Errorf("image %s: %w: nothing is recorded to compare it with", img.Name, ErrPlain)
	}
	record, err := s.Record(img.Reference)
	if err != nil {
		return record, err
	}
	now, err := tree.Digest(ctx, img.fd, nil, progress)
	if err != nil {
		return record, fmt.Errorf("verify image %s: %w", img, err)
	}
	if now.Digest != record.Digest {
		return record, fmt.Errorf("image %s is damaged: its digest is %s, recorded was %s", img, now.Digest, record.Digest)
	}
	return record, nil
}
