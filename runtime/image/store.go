// Package image knows the store, the directory that holds the images, and the
// throw-away snapshots that containers run in.
//
// An image is a BTRFS subvolume directly below the store. Snapshots are in the
// store's directory .mayfly, which only root may enter: an old image can hold old
// setuid programs, and nobody on the host shall reach them there.
package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"mayfly/btrfs"
	"mayfly/mount"
	"mayfly/personality"
	"mayfly/runtime/internal/file"
)

// runDirectory holds the snapshots of running containers.
const runDirectory = ".mayfly"

var (
	// ErrNoStore means that the store directory is missing.
	ErrNoStore = errors.New("no image store")
	// ErrNotBTRFS means that the store or an image cannot be snapshotted.
	ErrNotBTRFS = errors.New("not on BTRFS")
	// ErrUnknown means that the store has no such image.
	ErrUnknown = errors.New("unknown image")
)

// A Store is an open image store. Its holder must Close it.
type Store struct {
	Path string
	fd   int
}

// Open opens the store at an absolute path. A store belongs to root: its
// directory must not be writable by anybody else.
func Open(path string) (*Store, error) {
	fd, err := openDirectory(unix.AT_FDCWD, path)
	if errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("%w at %s: run `runtime store init` as root", ErrNoStore, path)
	}
	if err != nil {
		return nil, fmt.Errorf("open image store %s: %w", path, err)
	}
	if err := file.OwnedBy(fd, 0); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("image store %s: %w", path, err)
	}
	return &Store{path, fd}, nil
}

// Close closes the store. Open images and snapshots stay open.
func (s *Store) Close() error { return unix.Close(s.fd) }

func openDirectory(at int, path string) (int, error) {
	return unix.Openat(at, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// CheckBTRFS says what to do where the store is on another file system.
func (s *Store) CheckBTRFS() error {
	on, err := btrfs.Is(s.fd)
	if err == nil && !on {
		err = fmt.Errorf("image store %s: %w: run `runtime store init` as root", s.Path, ErrNotBTRFS)
	}
	return err
}

// An Image is an open root file system in a store. Its holder must Close it.
type Image struct {
	Name string
	Path string
	fd   int
}

// Image opens an image by name.
func (s *Store) Image(name string) (*Image, error) {
	if err := CheckName("image", name); err != nil {
		return nil, err
	}
	fd, err := unix.Openat(s.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("%w %s in %s: `runtime image list` shows what is there", ErrUnknown, name, s.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("open image %s in %s: %w", name, s.Path, err)
	}
	return &Image{Name: name, Path: filepath.Join(s.Path, name), fd: fd}, nil
}

// Close closes the image.
func (i *Image) Close() error { return unix.Close(i.fd) }

// FD returns the descriptor of the image's root directory, owned by the Image.
func (i *Image) FD() int { return i.fd }

// CheckSubvolume says what to do where an image cannot be snapshotted.
func (i *Image) CheckSubvolume() error {
	is, err := btrfs.IsSubvolume(i.fd)
	if err == nil && !is {
		err = fmt.Errorf("image %s is a plain directory: %w as a subvolume, so it cannot be snapshotted; "+
			"move it into a subvolume (btrfs subvolume create, cp -a --reflink)", i.Path, ErrNotBTRFS)
	}
	return err
}

// Architecture reads what machine the image is for from the ELF header of its
// /bin/sh.
func (i *Image) Architecture() (personality.Architecture, error) {
	const shell = "/bin/sh"
	fd, err := mount.RootAt(i.fd).OpenRegular(shell)
	if err != nil {
		return personality.Architecture{}, fmt.Errorf("image %s: open %s: %w", i.Name, shell, err)
	}
	defer unix.Close(fd)
	var header [personality.HeaderSize]byte
	n, err := unix.Pread(fd, header[:], 0)
	if err != nil {
		return personality.Architecture{}, fmt.Errorf("image %s: read %s: %w", i.Name, shell, err)
	}
	arch, err := personality.OfProgram(header[:n])
	if err != nil {
		return arch, fmt.Errorf("image %s: %s: %w", i.Name, shell, err)
	}
	return arch, nil
}

// runDir opens the directory of the snapshots, and makes it when root asks.
func (s *Store) runDir() (int, error) {
	fd, err := openDirectory(s.fd, runDirectory)
	if errors.Is(err, unix.ENOENT) && os.Getuid() == 0 {
		if err := unix.Mkdirat(s.fd, runDirectory, 0o700); err != nil && err != unix.EEXIST {
			return -1, fmt.Errorf("make %s: %w", filepath.Join(s.Path, runDirectory), err)
		}
		fd, err = openDirectory(s.fd, runDirectory)
	}
	if errors.Is(err, unix.ENOENT) {
		return -1, fmt.Errorf("image store %s has no directory %s yet: run `runtime store init` as root", s.Path, runDirectory)
	}
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", filepath.Join(s.Path, runDirectory), err)
	}
	if err := file.OwnedBy(fd, 0); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("%s: %w", filepath.Join(s.Path, runDirectory), err)
	}
	return fd, nil
}

// entries lists the names in a directory.
func entries(at int, path string) ([]fs.DirEntry, error) {
	fd, err := openDirectory(at, path)
	if err != nil {
		return nil, err
	}
	directory := os.NewFile(uintptr(fd), path)
	defer directory.Close()
	return directory.ReadDir(-1)
}

// lock takes an exclusive lock of the open file without waiting.
func lock(fd int) (taken bool, err error) {
	switch err := syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB); err {
	case nil:
		return true, nil
	case syscall.EWOULDBLOCK:
		return false, nil
	default:
		return false, err
	}
}
