package image

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/runtime/internal/file"
)

// Collect removes from the run directory what nobody has locked: copies whose supervisor is gone, drafts that
// were not sealed, images whose removal was cut short. It looks at as many as it can until the context is done and at
// most limit of them (0: all), and returns the names of what it removed.
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

// collect removes one entry unless it is locked. The lock is held until it is gone, so that of two collectors
// one does it.
func collect(dir int, name string) (bool, error) {
	fd, err := openHere(dir, name)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open %s: %w", name, err)
	}
	defer unix.Close(fd)
	if taken, err := lock(fd); err != nil || !taken {
		return false, err
	}
	if there, err := stillThere(dir, name, fd); err != nil || !there {
		return false, err
	}
	if strings.HasPrefix(name, removedPrefix) {
		locks, err := lockVersions(fd)
		if errors.Is(err, ErrInUse) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		defer file.CloseAll(locks)
	}
	remove := func() error { return removeTree(dir, name) }
	if strings.HasPrefix(name, removedPrefix) || strings.HasPrefix(name, imagePrefix) {
		remove = func() error { return removeImageDirectory(dir, name, fd) }
	}
	if strings.HasPrefix(name, endedPrefix) {
		remove = func() error { return removeSession(dir, name, fd) }
	}
	if err := remove(); err != nil {
		return false, fmt.Errorf("remove %s: %w", name, err)
	}
	return true, nil
}

// Sweep removes what interrupted changes have left in the directories of images: versions without a record, records
// without a version. It returns their names.
func (s *Store) Sweep() ([]string, error) {
	list, err := entries(s.fd, ".")
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", s.Path, err)
	}
	var removed []string
	for _, entry := range list {
		if !entry.IsDir() || CheckName("image", entry.Name()) != nil {
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
	dir, err := s.lockImage(name)
	if err != nil {
		return nil, nil // nothing that has versions
	}
	defer unix.Close(dir)
	whole, err := versions(dir)
	if err != nil {
		return nil, err
	}
	list, err := entries(dir, ".")
	if err != nil {
		return nil, err
	}
	for _, entry := range list {
		n, ok := parseVersion(strings.TrimSuffix(entry.Name(), ".json"))
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

// stillThere compares device numbers too: every subvolume has one of its own.
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
