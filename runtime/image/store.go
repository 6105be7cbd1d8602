// Package image manages the store: the directory of the images, their versions, and the
// throw-away snapshots in which containers run.
//
// An image NAME is a directory of the store:
//
//	NAME/1 NAME/2 ...    its versions: root file systems that never change
//	NAME/1.json ...      their records; a process that uses a version marks it (package lock)
//	NAME/current         a symbolic link to the version that launches use
//
// On BTRFS a version is a read-only subvolume, elsewhere a directory. A subvolume NAME
// that was made by hand is an image, too: a plain image. On other file systems that is
// a directory without a link "current". A plain image has no versions and may change.
//
// Drafts, snapshots and what is being removed are in the store's directory .mayfly (the
// run directory). A mark says that the process that works on an entry lives: for a
// snapshot it is on the container's record (package state), for other entries on a file
// beside the entry.
//
// Only root may enter the run directory and the images. An old image can contain old
// setuid programs, which no user of the host may reach there.
package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"mayfly/btrfs"
	"mayfly/runtime/here"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/internal/lock"
	"mayfly/runtime/nearest"
)

var (
	// ErrNoStore means that the store directory is missing.
	ErrNoStore = errors.New("no image store")
	// ErrUnknown means that the store has no such image or version.
	ErrUnknown = errors.New("unknown image")
	// ErrInUse means that a container uses the image or version.
	ErrInUse = errors.New("is in use")
	// ErrExists means that there is an image of that name.
	ErrExists = errors.New("exists")
	// ErrPlain means that an image has no versions.
	ErrPlain = errors.New("is a plain root file system without versions")
)

// A Store is an open image store. Its holder must Close it.
type Store struct {
	Path  string
	Here  here.Here // by which it was opened
	BTRFS bool      // copies are snapshots, else overlays
	fd    int
}

// Open opens the store at an absolute path. Its directory must belong to root, and only
// root may write to it.
func Open(h here.Here, path string) (*Store, error) {
	fd, err := openDirectory(unix.AT_FDCWD, path)
	if errors.Is(err, unix.ENOENT) && h.Rootless() && path == h.Store() && unix.Mkdir(path, 0o700) == nil {
		fd, err = openDirectory(unix.AT_FDCWD, path)
	}
	if errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("%w at %s: run `runtime store init` as root", ErrNoStore, path)
	}
	if err != nil {
		return nil, fmt.Errorf("open image store %s: %w", path, err)
	}
	s := &Store{Path: path, Here: h, fd: fd}
	err = file.OwnedBy(fd, h.Root().UID)
	if err != nil && h.Rootless() {
		err = errors.New("is not root's of your user namespace: it was made with other subordinate ids, or its owner was changed; move it away, or name another with XDG_DATA_HOME")
	}
	if err == nil {
		s.BTRFS, err = snapshots(h, fd)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("image store %s: %w", path, err)
	}
	return s, nil
}

// snapshots returns whether a directory can have BTRFS snapshots. In a user namespace
// it cannot, even on BTRFS: the kernel lets nobody there delete a subvolume at once.
func snapshots(h here.Here, fd int) (bool, error) {
	if h.Rootless() {
		return false, nil
	}
	return btrfs.Is(fd)
}

// Explain adds advice to an error of a change in the store, if the store is read-only.
func (s *Store) Explain(err error) error {
	var fs unix.Statfs_t
	if !errors.Is(err, unix.EROFS) || unix.Fstatfs(s.fd, &fs) != nil || fs.Flags&unix.ST_RDONLY == 0 {
		return err // or it is of another place
	}
	return file.ReadOnly(err, s.Path)
}

// errTurn means that another process has the turn of BeginTurn.
var errTurn = errors.New("another process brings or publishes images just now: let it end")

// BeginTurn takes the turn of who copies the store to or from elsewhere, of whom there is
// one at a time. It does not wait. The caller must call done. The lock is on the run
// directory, which only root can open.
func (s *Store) BeginTurn() (done func(), err error) {
	dir, err := s.runDir()
	if err != nil {
		return nil, err
	}
	taken, err := lock.TryTurn(dir)
	if err == nil && !taken {
		err = errTurn
	}
	if err != nil {
		unix.Close(dir)
		return nil, fmt.Errorf("image store %s: %w", s.Path, err)
	}
	return func() { unix.Close(dir) }, nil
}

// Close closes the store. Open images and snapshots stay open.
func (s *Store) Close() error { return unix.Close(s.fd) }

func openDirectory(at int, path string) (int, error) {
	return unix.Openat(at, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// openHere is openDirectory for a name that must not be a symbolic link.
func openHere(at int, name string) (int, error) {
	return unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

func (s *Store) unknown(ref ref.Reference) error {
	return fmt.Errorf("%w %s in %s: %s", ErrUnknown, ref, s.Path, s.hint(ref))
}

// names lists the names in the store that an image can have, sorted.
func (s *Store) names() (names []string, err error) {
	list, err := entries(s.fd, ".")
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", s.Path, err)
	}
	for _, entry := range list {
		if entry.IsDir() && ref.CheckName("image", entry.Name()) == nil {
			names = append(names, entry.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

func (s *Store) hint(ref ref.Reference) string {
	if ref.Chooses() {
		return "`runtime image history " + ref.Name + "` shows the versions"
	}
	if _, err := os.Stat(backingFile(s.Path)); err == nil && !s.BTRFS {
		return "the store is not mounted, `runtime store mount` does it"
	}
	if raw := filepath.Join(s.Path, ref.Name+".raw"); isFile(raw) {
		return "`runtime image import " + ref.Name + " " + raw + "` makes an image of the disk image"
	}
	if s.Here.Rootless() {
		text := "without a grant images are your own, `runtime image create` makes one; `runtime grant --check` tells about the grant"
		if why := here.GrantIgnored(); why != nil {
			text = why.Error() + "; " + text
		}
		return text
	}
	names, _ := s.names() // without them there is no advice
	return "`runtime image list` shows what is there" + nearest.Advice(ref.Name, names, nil)
}

// runDir opens the run directory. For root it makes the directory if it is missing.
func (s *Store) runDir() (int, error) {
	fd, err := openDirectory(s.fd, ref.RunDirectory)
	if errors.Is(err, unix.ENOENT) && (os.Getuid() == 0 || s.Here.Rootless()) {
		if err := unix.Mkdirat(s.fd, ref.RunDirectory, 0o700); err != nil && err != unix.EEXIST {
			return -1, fmt.Errorf("make %s: %w", filepath.Join(s.Path, ref.RunDirectory), err)
		}
		fd, err = openDirectory(s.fd, ref.RunDirectory)
	}
	if errors.Is(err, unix.ENOENT) {
		return -1, fmt.Errorf("image store %s has no directory %s yet: run `runtime store init` as root", s.Path, ref.RunDirectory)
	}
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", filepath.Join(s.Path, ref.RunDirectory), err)
	}
	if err := file.OwnedBy(fd, s.Here.Root().UID); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("%s: %w", filepath.Join(s.Path, ref.RunDirectory), err)
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

// Spool returns a directory on the store's file system, for files without a name.
func (s *Store) Spool() string { return filepath.Join(s.Path, ref.RunDirectory) }

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}
