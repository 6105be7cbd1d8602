// Package project reads mayfly.toml, the file in which a project says in which image it
// is built, and with what: settings of `runtime run`, and commands with names.
//
// The file is the caller's, like the arguments of a command line. It is found and read
// with the caller's rights, it can say nothing that a flag could not, and a file of
// somebody else's is refused. Package main calls it, and makes flags of the settings.
package project

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"mayfly/runtime/internal/file"
)

const (
	// FileName is the name of a project's file.
	FileName = "mayfly.toml"
	maxFile  = 64 << 10 // bytes
)

// ErrNone means that there is no project's file. The error tells where it was looked
// for.
var ErrNone = errors.New("there is no " + FileName)

// Find finds and reads the file of the working directory, or of the nearest directory
// above it. It looks in directories of the caller's only, and does not leave the mount.
func Find() (p *Project, err error) {
	err = upwards(func(dir int, path string) (bool, error) {
		text, err := readIn(dir)
		if err == unix.ENOENT {
			return false, nil
		}
		if err != nil {
			return true, fmt.Errorf("%s: %w", filepath.Join(path, FileName), err)
		}
		p, err = Parse(filepath.Join(path, FileName), text)
		return true, err
	})
	return p, err
}

// GitTop returns the working directory, or the nearest above it, that has a .git; "":
// there is none. It looks where Find does.
func GitTop() (top string) {
	_ = upwards(func(dir int, path string) (bool, error) {
		var st unix.Stat_t
		if unix.Fstatat(dir, ".git", &st, unix.AT_SYMLINK_NOFOLLOW) != nil || int(st.Uid) != os.Getuid() {
			return false, nil
		}
		top = path
		return true, nil
	})
	return top
}

// upwards calls f for the working directory and those above it, until f says that it is
// done. A directory is open as long as f runs.
func upwards(f func(dir int, path string) (done bool, err error)) error {
	dir, err := unix.Open(".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%w: open the working directory: %w", ErrNone, err)
	}
	defer func() { unix.Close(dir) }()
	path, err := file.PathOf(dir)
	if err != nil {
		return fmt.Errorf("%w: the working directory: %w", ErrNone, err)
	}
	first, here := path, place{}
	for {
		was := here
		here, err = placeOf(dir)
		switch {
		case err != nil:
			return fmt.Errorf("%w: look at %q: %w", ErrNone, path, err)
		case here.owner != os.Getuid():
			return fmt.Errorf("%w from %q upwards: %q is not yours", ErrNone, first, path)
		case was != (place{}) && was.mount != here.mount:
			return fmt.Errorf("%w from %q upwards, to where %q is mounted", ErrNone, first, path)
		}
		if done, err := f(dir, path); done || err != nil {
			return err
		}
		if path == "/" {
			return fmt.Errorf("%w from %q upwards", ErrNone, first)
		}
		above, err := unix.Openat(dir, "..", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("%w: open the directory above %q: %w", ErrNone, path, err)
		}
		unix.Close(dir)
		dir, path = above, filepath.Dir(path)
	}
}

// A place is what the search asks of a directory.
type place struct {
	owner int
	mount uint64
}

func placeOf(dir int) (place, error) {
	var st unix.Statx_t
	err := unix.Statx(dir, "", unix.AT_EMPTY_PATH, unix.STATX_UID|unix.STATX_MNT_ID, &st) // the mount's id: Linux 5.8
	return place{int(st.Uid), st.Mnt_id}, err
}

// readIn reads the file in an open directory. The error is ENOENT if there is none.
func readIn(dir int) ([]byte, error) {
	fd, err := unix.Openat(dir, FileName, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	switch {
	case err == unix.ELOOP:
		return nil, errors.New("it is a symbolic link, want a file")
	case err == unix.ENXIO:
		return nil, errors.New("it is a socket or a device, want a file")
	case err != nil:
		return nil, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, errors.New("it is no regular file")
	case int(st.Uid) != os.Getuid():
		return nil, fmt.Errorf("it belongs to uid %d, and is used by that user only: a copy of yours can be used by you", st.Uid)
	case st.Mode&0o002 != 0:
		return nil, errors.New("everybody can write to it: `chmod o-w` it")
	case st.Size > maxFile:
		return nil, fmt.Errorf("it has %d bytes, the most is %d", st.Size, maxFile)
	}
	return file.ReadFD(fd, maxFile)
}
