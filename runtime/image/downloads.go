package image

import (
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"

	"mayfly/mount"
)

// downloads are the places of apt's downloaded package lists and packages, and of the
// caches that it makes from the lists.
var downloads = []struct {
	directory string
	is        func(name string) bool
}{
	{"/var/lib/apt/lists", notLock}, {"/var/lib/apt/lists/partial", notLock}, {"/var/lib/apt/lists/auxfiles", notLock},
	{"/var/cache/apt/archives", notLock}, {"/var/cache/apt/archives/partial", notLock},
	{"/var/cache/apt", func(name string) bool { return path.Ext(name) == ".bin" }},
}

func notLock(name string) bool { return name != "lock" }

// Downloads returns the number of bytes in the draft that apt can download again.
func (d *Draft) Downloads() (int64, error) { return d.downloads(false) }

// RemoveDownloads removes what apt can download again, and returns the number of bytes.
func (d *Draft) RemoveDownloads() (int64, error) { return d.downloads(true) }

func (d *Draft) downloads(remove bool) (bytes int64, err error) {
	for _, place := range downloads {
		dir, err := mount.RootAt(d.fd).Open(place.directory, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			continue
		}
		if err != nil {
			return bytes, fmt.Errorf("open %s: %w", place.directory, err)
		}
		n, err := filesIn(dir, place.is, remove)
		bytes += n
		if err = errors.Join(err, unix.Close(dir)); err != nil {
			return bytes, fmt.Errorf("downloads in %s: %w", place.directory, err)
		}
	}
	return bytes, nil
}

// filesIn counts the bytes of a directory's regular files whose names satisfy is. If
// remove is true, it removes them.
func filesIn(dir int, is func(name string) bool, remove bool) (bytes int64, err error) {
	list, err := entries(dir, ".")
	if err != nil {
		return 0, err
	}
	for _, e := range list {
		if !e.Type().IsRegular() || !is(e.Name()) {
			continue
		}
		var st unix.Stat_t
		if err := unix.Fstatat(dir, e.Name(), &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return bytes, err
		}
		bytes += st.Size
		if remove {
			if err := unix.Unlinkat(dir, e.Name(), 0); err != nil {
				return bytes, err
			}
		}
	}
	return bytes, nil
}
