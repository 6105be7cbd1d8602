// Package grant lets ordinary users execute the binary with capabilities, and shows
// which grant a binary has.
package grant

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A Kind is the way in which the binary gets its capabilities.
type Kind int

// The kinds of grant that are stored in the file itself.
const (
	None Kind = iota
	FileCapabilities
	SetUID
)

// EveryUser instead of a group: all users may execute the binary.
const EveryUser = -1

// attribute is the extended attribute with a file's capabilities. Its layout is that of
// linux/capability.h.
const (
	attribute     = "security.capability"
	revision2     = 0x02000000
	revisionMask  = 0xff000000
	effectiveFlag = 1
	size2         = 20
)

// encode makes the attribute. The capabilities are permitted, not effective: the
// program raises them when it needs them. So it also starts, and can say what is
// missing, if the kernel cannot give it all of them.
func encode(permitted uint64) []byte {
	data := make([]byte, size2)
	binary.LittleEndian.PutUint32(data[0:], revision2)
	binary.LittleEndian.PutUint32(data[4:], uint32(permitted))
	binary.LittleEndian.PutUint32(data[12:], uint32(permitted>>32))
	return data
}

// decode reads the permitted set from the attribute. It refuses revision 3, which a
// user namespace's root has set: it has no effect outside of that namespace.
func decode(data []byte) (uint64, error) {
	if len(data) != size2 || binary.LittleEndian.Uint32(data)&revisionMask != revision2 {
		return 0, errors.New("file capabilities of another revision than 2")
	}
	return uint64(binary.LittleEndian.Uint32(data[4:])) | uint64(binary.LittleEndian.Uint32(data[12:]))<<32, nil
}

// Apply grants a binary. Only members of group may execute it. capabilities are for
// FileCapabilities. None removes the grant. Only root can call it.
//
// The file and each directory above it must belong to root, and only root may write to
// them: a user who could change or replace the binary would get its capabilities.
func Apply(path string, kind Kind, group int, capabilities uint64) error {
	fd, err := openTrusted(path)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	mode, gid := uint32(0o755), 0
	if group != EveryUser {
		mode, gid = 0o750, group
	}
	// Remove the grant first, so that at no moment too many users have it.
	if err := remove(fd, path); err != nil {
		return err
	}
	if err := unix.Fchown(fd, 0, gid); err != nil {
		return fmt.Errorf("chown %s: %w", path, err)
	}
	if kind == SetUID {
		mode |= unix.S_ISUID
	}
	if err := unix.Fchmod(fd, mode); err != nil {
		return fmt.Errorf("chmod %s: %w", path, err)
	}
	if kind != FileCapabilities {
		return nil
	}
	if err := unix.Fsetxattr(fd, attribute, encode(capabilities), 0); err != nil {
		return fmt.Errorf("set capabilities of %s: %w: can its file system hold them?", path, err)
	}
	return nil
}

func remove(fd int, path string) error {
	if err := unix.Fchmod(fd, 0o700); err != nil {
		return fmt.Errorf("chmod %s: %w", path, err)
	}
	if err := unix.Fremovexattr(fd, attribute); err != nil && err != unix.ENODATA && err != unix.ENOTSUP {
		return fmt.Errorf("remove capabilities of %s: %w", path, err)
	}
	return nil
}

// openTrusted opens a binary by its real path, and checks each directory on the way.
func openTrusted(path string) (int, error) {
	if !filepath.IsAbs(path) {
		return -1, fmt.Errorf("%s: want an absolute path", path)
	}
	fd, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open /: %w", err)
	}
	parts := strings.Split(strings.Trim(filepath.Clean(path), "/"), "/")
	place := "/"
	for i, part := range parts {
		place = filepath.Join(place, part)
		flags := unix.O_PATH | unix.O_DIRECTORY
		if i == len(parts)-1 {
			flags = unix.O_RDONLY | unix.O_NONBLOCK
		}
		next, err := unix.Openat(fd, part, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		unix.Close(fd)
		if err != nil {
			return -1, fmt.Errorf("open %s: %w", place, err)
		}
		if err := roots(next, flags&unix.O_DIRECTORY != 0); err != nil {
			unix.Close(next)
			return -1, fmt.Errorf("%s, on the way to %s: %w", place, path, err)
		}
		fd = next
	}
	return fd, nil
}

// roots returns an error unless an open file or directory belongs to root and only root
// may write to it.
func roots(fd int, dir bool) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	switch {
	case !dir && st.Mode&unix.S_IFMT != unix.S_IFREG:
		return errors.New("is not a regular file")
	case st.Uid != 0:
		return fmt.Errorf("belongs to uid %d, who could change what is granted: want root's", st.Uid)
	case st.Mode&0o022 != 0:
		return fmt.Errorf("can be written to by others than root (mode %04o): chmod go-w it", st.Mode&0o7777)
	}
	return nil
}
