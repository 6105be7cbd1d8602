package image

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/btrfs"
	"mayfly/mount"
	"mayfly/personality/arch"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/internal/lock"
)

// An Image is an open root file system in a store: a version or a plain image. While a
// version is open, it cannot be removed. The holder of an Image must Close it.
type Image struct {
	ref.Reference        // of the version that is open; Version 0: a plain image
	Path          string // of the root file system
	Private       bool   // not to be in several containers at a time
	fd            int
	record        int      // the version's record, or the session's, marked as in use; -1: none
	env           []string // of a session; of a version, see recorded
	recorded      bool     // the version's record has an environment
}

// Sealed returns whether the image is a version, which does not change.
func (i *Image) Sealed() bool { return i.Version != 0 }

// FD returns the descriptor of the image's root directory, owned by the Image.
func (i *Image) FD() int { return i.fd }

// Close closes the image.
func (i *Image) Close() error {
	if i.record >= 0 {
		unix.Close(i.record)
	}
	return unix.Close(i.fd)
}

// switches is how often Image looks for the version again, if it was removed meanwhile.
const switches = 16

// Image opens an image: the version that the text names (see ref.Parse), or the current
// one.
func (s *Store) Image(text string) (*Image, error) {
	ref, err := ref.Parse(text)
	if err != nil {
		return nil, err
	}
	dir, plain, err := s.openImage(ref.Name)
	if err != nil {
		return nil, err
	}
	if plain {
		if ref.Chooses() {
			unix.Close(dir)
			return nil, fmt.Errorf("image %s: %w: leave out @%s", ref.Name, ErrPlain, ref.Choice())
		}
		return &Image{Reference: ref, Path: filepath.Join(s.Path, ref.Name), Private: true, fd: dir, record: -1}, nil
	}
	defer unix.Close(dir)
	for range switches {
		img, err := s.openVersion(dir, ref)
		if err == nil || !errors.Is(err, unix.ENOENT) {
			return img, err
		}
		if ref.Chooses() {
			break
		}
	}
	return nil, s.unknown(ref)
}

// openImage opens the directory of an image, and returns whether it is a plain image.
func (s *Store) openImage(name string) (dir int, plain bool, err error) {
	dir, err = openHere(s.fd, name)
	if err == nil {
		if plain, err = s.isPlain(name, dir); err != nil {
			unix.Close(dir)
		}
	}
	if errors.Is(err, unix.ENOENT) {
		return -1, false, s.unknown(ref.Reference{Name: name})
	}
	if err != nil {
		return -1, false, fmt.Errorf("open image %s in %s: %w", name, s.Path, err)
	}
	return dir, plain, nil
}

// isPlain returns whether the open directory of an image is itself the root file
// system. It returns ENOENT if the image has been removed meanwhile.
func (s *Store) isPlain(name string, dir int) (bool, error) {
	var link [1]byte
	if s.BTRFS {
		is, err := btrfs.IsSubvolume(dir)
		if is || err != nil {
			return is, err
		}
	}
	if _, err := unix.Readlinkat(dir, currentLink, link[:]); err == nil {
		return false, nil
	} else if err != unix.ENOENT && err != unix.EINVAL {
		return false, err
	}
	// Without the link "current" the image is plain or being removed. A removal moves
	// the image away before it removes the link.
	if there, err := stillThere(s.fd, name, dir); err != nil || !there {
		return false, cmp.Or(err, error(unix.ENOENT))
	}
	if s.BTRFS {
		return false, fmt.Errorf("it is a directory and no subvolume: `runtime image import NEW %s` makes an image of it", filepath.Join(s.Path, name))
	}
	return true, nil
}

// openVersion opens the version in an image's directory that a reference names. It
// marks the version's record first: from then on no process removes the version, if it
// still exists.
func (s *Store) openVersion(dir int, named ref.Reference) (*Image, error) {
	version, err := s.choose(dir, named)
	if err != nil {
		return nil, err
	}
	ref := ref.Reference{Name: named.Name, Version: version}
	record, err := unix.Openat(dir, recordName(ref.Version), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	fd := -1
	st, err := use(record)
	if err == nil {
		fd, err = openHere(dir, strconv.Itoa(ref.Version))
	}
	if err != nil {
		unix.Close(record)
		return nil, fmt.Errorf("open image %s: %w", ref, err)
	}
	path := filepath.Join(s.Path, ref.Name, strconv.Itoa(ref.Version))
	private, environment := st.Mode&0o777&^withEnvironment == privateRecord, st.Mode&withEnvironment != 0
	return &Image{Reference: ref, Path: path, Private: private, fd: fd, record: record, recorded: environment}, nil
}

// useWithin is how long a launch waits while root removes the version.
const useWithin = 10 * time.Second

// use marks an open record as in use; other processes may do so, too. It returns ENOENT
// if the version or session has been removed.
func use(fd int) (st unix.Stat_t, err error) {
	err = lock.Within(useWithin, func() (bool, error) {
		taken, err := lock.MarkShared(fd)
		if err == nil {
			err = unix.Fstat(fd, &st)
		}
		if err == nil && st.Nlink == 0 {
			err = unix.ENOENT
		}
		return taken, err
	})
	if err == lock.ErrTime {
		err = &lock.Busy{Waited: useWithin, Holders: lock.Holders(fd)}
	}
	return st, err
}

// Architecture returns the image's architecture, from the ELF header of its /bin/sh.
func (i *Image) Architecture() (arch.Architecture, error) {
	arch, err := architecture(i.fd)
	if err != nil {
		return arch, fmt.Errorf("image %s: %w", i.Name, err)
	}
	return arch, nil
}

func architecture(root int) (arch.Architecture, error) {
	const shell = "/bin/sh"
	fd, err := mount.RootAt(root).OpenRegular(shell)
	if err != nil {
		return arch.Architecture{}, fmt.Errorf("open %s: %w", shell, err)
	}
	defer unix.Close(fd)
	var header [arch.HeaderSize]byte
	n, err := unix.Pread(fd, header[:], 0)
	if err != nil {
		return arch.Architecture{}, fmt.Errorf("read %s: %w", shell, err)
	}
	arch, err := arch.OfProgram(header[:n])
	if err != nil {
		return arch, fmt.Errorf("%s: %w", shell, err)
	}
	return arch, nil
}
