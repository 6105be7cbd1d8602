package mount

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrOutside means that a missing mount point would have to be made in a mount
// that is not ours to write to.
var ErrOutside = errors.New("lies on another mount, where nothing is created")

// Create makes the missing part of name: directories, and an empty file as the
// last component unless dir. It writes only to mounts whose id is in on, and
// never through the last component of what it makes. It returns how many
// components it has made, the last ones of name; 0 says that something is there.
//
// It walks by descriptor, a component at a time: to resolve each beginning of name
// from the root again would cost the square of its length.
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

// step opens the last of the components, which lies in the open directory that the ones
// before it lead to. Only a symbolic link is resolved from the root, since it may lead
// anywhere inside it; the kernel follows no more than forty in one path.
func (r Root) step(at int, parts []string) (int, error) {
	fd, err := resolve(at, parts[len(parts)-1], unix.O_PATH, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)
	if err == unix.ELOOP {
		return r.Open("/"+strings.Join(parts, "/"), unix.O_PATH)
	}
	return fd, err
}

// createOne makes the last of the components in an open directory, and opens it.
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

// Target returns where name leads inside the root, as a path without symbolic links.
// From the first component on that is not there it is as the links say: what Create has
// to make for a link that leads nowhere. Somebody who changes the tree meanwhile can
// choose the path, not what Create does with it.
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

// readLink reads a symbolic link. EINVAL says that it is none.
func (r Root) readLink(name string) (string, error) {
	fd, err := r.Open(name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return "", err
	}
	defer closeFD(fd)
	buffer := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buffer)
	if err == unix.ENOENT { // the kernel's word for an open file that is no link
		err = unix.EINVAL
	}
	return string(buffer[:max(n, 0)]), err
}
