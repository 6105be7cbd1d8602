package mount

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrOutside means that a mount point is missing in a mount in which the caller of
// Create does not let anything be made.
var ErrOutside = errors.New("lies on another mount, where nothing is created")

// Create makes the components of name that are missing: directories of mode 0755, and,
// unless dir, an empty file of mode 0644 as the last one, both less the umask. It
// returns how many it has made, which are the last ones of name; 0: something is there
// already. It makes them in mounts whose id (Place) is in on, and gives ErrOutside for
// others. A symbolic link that leads nowhere is not followed: the error is EEXIST.
//
// The thread needs to be allowed to write to the directories. What was made stays where
// there is an error.
//
// Create goes from component to component by descriptor. To resolve every beginning of
// name from the root would take time by the square of its length.
func (r Root) Create(name string, dir bool, on ...uint64) (made int, err error) {
	name = strings.Trim(path.Clean("/"+name), "/")
	if name == "" {
		return 0, nil
	}
	parts := strings.Split(name, "/")
	at := r.fd
	leave := func() {
		if at != r.fd {
			closeFD(at)
		}
	}
	defer func() { leave() }()
	for i := range parts {
		next, err := r.step(at, parts[:i+1])
		if err == unix.ENOENT {
			if next, err = r.createOne(at, parts[:i+1], dir || i < len(parts)-1, on); err == nil {
				made++
			}
		}
		if err != nil {
			return made, err
		}
		leave()
		at = next
	}
	return made, nil
}

// step opens the last of the components, in the open directory at, to which the others
// lead. A symbolic link may lead anywhere in the root, so where the last one is such,
// all of them are resolved from the root.
func (r Root) step(at int, parts []string) (int, error) {
	fd, err := resolve(at, parts[len(parts)-1], unix.O_PATH, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)
	if err == unix.ELOOP {
		return r.Open("/"+strings.Join(parts, "/"), unix.O_PATH)
	}
	return fd, err
}

// createOne makes the last of the components in the open directory at, and opens it.
func (r Root) createOne(at int, parts []string, dir bool, on []uint64) (int, error) {
	where, err := place(at)
	if err == nil && !slices.Contains(on, where.MountID) {
		err = ErrOutside
	}
	base := parts[len(parts)-1]
	switch {
	case err != nil:
	case dir:
		err = mkdirat(at, base, 0o755)
	default:
		err = touch(at, base)
	}
	if err != nil {
		return -1, fmt.Errorf("create /%s: %w", strings.Join(parts, "/"), err)
	}
	return r.step(at, parts)
}

// mostLinks is how many symbolic links the kernel follows in one path
// (path_resolution(7)).
const mostLinks = 40

// Target returns where name leads in the root, as a path without symbolic links. It
// goes on where a component is missing, by the text of the path: so it tells what
// Create has to make for a symbolic link that leads nowhere. ELOOP: there are more
// links than the kernel follows.
//
// A process that changes the tree meanwhile can choose the path that is returned, and
// nothing else: Create trusts no path.
func (r Root) Target(name string) (string, error) {
	at, parts, links := "/", strings.Split(name, "/"), 0
	for len(parts) > 0 {
		part := parts[0]
		parts = parts[1:]
		if part == "" || part == "." {
			continue
		}
		if part == ".." {
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, part)
		to, err := r.readLink(next)
		switch {
		case err == unix.ENOENT || err == unix.EINVAL: // not there, or no link
			at = next
			continue
		case err != nil:
			return "", fmt.Errorf("read link %s: %w", next, err)
		}
		if links++; links > mostLinks {
			return "", unix.ELOOP
		}
		if path.IsAbs(to) {
			at = "/"
		}
		parts = append(strings.Split(to, "/"), parts...)
	}
	return at, nil
}

// readLink reads a symbolic link. EINVAL: the file is none.
func (r Root) readLink(name string) (string, error) {
	fd, err := r.Open(name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return "", err
	}
	defer closeFD(fd)
	buffer := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buffer)
	if err == unix.ENOENT { // so the kernel says of an open file that is no symbolic link
		err = unix.EINVAL
	}
	return string(buffer[:max(n, 0)]), err
}
