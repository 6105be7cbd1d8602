// Package tree reads whole directory trees: every entry with its attributes, in the
// same order on every machine, for archives, digests and comparisons.
//
// It opens entries by descriptors, and follows no symbolic links. If another process
// changes the tree meanwhile, the result can be wrong, but contains nothing from
// outside of the tree.
package tree

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/internal/file"
)

// An Entry is a file of a tree, of any kind but a socket: those are left out.
type Entry struct {
	Path   string // relative to the top, "." for that
	Mode   uint32 // st_mode: type and permissions
	UID    uint32
	GID    uint32
	Size   int64 // of a regular file, else 0
	Blocks int64 // 512 bytes each, as allocated
	MTime  time.Time
	CTime  time.Time
	Device uint64 // of a device node
	Target string // of a symbolic link
	// Link is set for another name of a file: the path of its first name in order.
	Link   string
	Xattrs []Xattr // by name
	Inode  uint64
}

// An Xattr is an extended attribute.
type Xattr struct{ Name, Value string }

// Kept returns whether an extended attribute belongs to an image: file capabilities,
// ACLs and user.*. Labels of security modules belong to a host. trusted.* can change
// how overlayfs shows a tree, and an archive's author must not be able to do that.
func Kept(name string) bool {
	return name == "security.capability" || name == "system.posix_acl_access" ||
		name == "system.posix_acl_default" || strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.")
}

// Type returns the entry's S_IFMT bits.
func (e *Entry) Type() uint32 { return e.Mode & unix.S_IFMT }

// Regular returns whether the entry is a regular file, and not another name of an
// earlier one.
func (e *Entry) Regular() bool { return e.Type() == unix.S_IFREG && e.Link == "" }

// A Visit is called for each entry: first the top, then its entries in the byte order
// of their names, each directory followed by its own entries.
type Visit func(e *Entry, open Opener) error

// An Opener opens the entry of a visit, which must be Regular, during the visit. The
// caller closes the file.
type Opener func() (*os.File, error)

// Walk visits the tree below an open directory, on one file system. It visits a mount
// point or a nested subvolume as an empty directory. The caller keeps the descriptor.
func Walk(ctx context.Context, top int, visit Visit) error {
	fd, err := unix.Openat(top, ".", directoryFlags, 0)
	if err != nil {
		return fmt.Errorf("open the tree: %w", err)
	}
	w := &walker{visit: visit, links: map[inode]string{}}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return fmt.Errorf("fstat: %w", err)
	}
	w.device = st.Dev
	defer w.trail.close()
	if err := w.directory(fd, ".", &st); err != nil {
		return err
	}
	for len(w.trail) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		name, more := w.trail.last().next()
		if more {
			err = w.entry(name)
		} else if err = w.trail.pop(); err != nil {
			err = fmt.Errorf("leave directory %s: %w", w.path, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

type walker struct {
	visit  Visit
	device uint64
	links  map[inode]string // the first path of each file with several names
	trail  trail
	path   []byte // of the directory of the last entry, or of one below it
}

// An inode is known by its number and that of its file system.
type inode struct{ dev, ino uint64 }

// directory visits an open directory, and enters it.
func (w *walker) directory(fd int, name string, st *unix.Stat_t) error {
	path := w.pathOf(name)
	e := entry(path, st)
	var err error
	if e.Xattrs, err = xattrs(procPath(fd, "")); err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	} else {
		err = w.visit(e, nil)
	}
	if err != nil || st.Dev != w.device {
		unix.Close(fd)
		return err
	}
	l := w.trail.push(fd, st, name)
	if l.names, err = allNames(fd); err != nil {
		return fmt.Errorf("list %s: %w", path, err)
	}
	slices.Sort(l.names)
	if len(w.trail) > 1 { // paths are relative to the top
		w.path = append(w.path[:0], path...)
	}
	l.path = len(w.path)
	return nil
}

// pathOf returns the path of an entry of the current directory.
func (w *walker) pathOf(name string) string {
	if len(w.trail) == 0 {
		return name
	}
	if w.path = w.path[:w.trail.last().path]; len(w.path) == 0 {
		return name
	}
	return string(w.path) + "/" + name
}

func (w *walker) entry(name string) error {
	dir, path := w.trail.last().fd, w.pathOf(name)
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFSOCK:
		return nil
	case unix.S_IFDIR:
		fd, err := unix.Openat(dir, name, directoryFlags, 0)
		if err != nil {
			return fmt.Errorf("open %s: %w", path, err)
		}
		return w.directory(fd, name, &st)
	}
	e := entry(path, &st)
	if st.Nlink > 1 {
		if first, ok := w.links[inode{st.Dev, st.Ino}]; ok {
			e.Link = first
			return w.visit(e, nil)
		}
		w.links[inode{st.Dev, st.Ino}] = path
	}
	var err error
	if e.Xattrs, err = xattrs(procPath(dir, name)); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	switch e.Type() {
	case unix.S_IFLNK:
		if e.Target, err = readlink(dir, name, int(st.Size)); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	case unix.S_IFREG:
		return w.visit(e, func() (*os.File, error) { return openRegular(dir, name, path, st) })
	}
	return w.visit(e, nil)
}

func entry(path string, st *unix.Stat_t) *Entry {
	e := &Entry{Path: path, Mode: st.Mode, UID: st.Uid, GID: st.Gid, Blocks: st.Blocks, Inode: st.Ino,
		MTime: time.Unix(st.Mtim.Unix()), CTime: time.Unix(st.Ctim.Unix())}
	switch e.Type() {
	case unix.S_IFREG:
		e.Size = st.Size
	case unix.S_IFCHR, unix.S_IFBLK:
		e.Device = st.Rdev
	}
	return e
}

// openRegular opens a regular file, which must be the one that stat(2) saw under this
// name.
func openRegular(dir int, name, path string, seen unix.Stat_t) (*os.File, error) {
	fd, st, err := file.OpenRegular(dir, name, unix.O_NOFOLLOW, 0)
	if err == nil && (st.Dev != seen.Dev || st.Ino != seen.Ino) {
		unix.Close(fd)
		err = errMoved
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

func readlink(dir int, name string, size int) (string, error) {
	for size = max(size, 64) + 1; ; size *= 2 {
		buffer := make([]byte, size)
		n, err := unix.Readlinkat(dir, name, buffer)
		if err != nil {
			return "", fmt.Errorf("readlink: %w", err)
		}
		if n < size {
			return string(buffer[:n]), nil
		}
	}
}

// procPath returns a path in /proc of an entry of an open directory, or of the
// directory itself, for system calls that take no directory descriptor.
func procPath(dir int, name string) string {
	path := "/proc/self/fd/" + strconv.Itoa(dir)
	if name == "" {
		return path + "/."
	}
	return path + "/" + name
}

// xattrs reads the extended attributes that belong to an image.
func xattrs(path string) ([]Xattr, error) {
	var list [1024]byte
	n, err := unix.Llistxattr(path, list[:])
	names := string(list[:max(n, 0)])
	if err == unix.ERANGE {
		if names, err = grow(func(b []byte) (int, error) { return unix.Llistxattr(path, b) }); err != nil {
			return nil, fmt.Errorf("list extended attributes: %w", err)
		}
	}
	if err == unix.ENOTSUP {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list extended attributes: %w", err)
	}
	var found []Xattr
	for name := range strings.SplitSeq(names, "\x00") {
		if !Kept(name) {
			continue
		}
		value, err := grow(func(b []byte) (int, error) { return unix.Lgetxattr(path, name, b) })
		if err != nil {
			return nil, fmt.Errorf("read extended attribute %s: %w", name, err)
		}
		found = append(found, Xattr{name, value})
	}
	slices.SortFunc(found, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}

func grow(read func([]byte) (int, error)) (string, error) {
	for size := 4 << 10; ; size *= 4 {
		buffer := make([]byte, size)
		n, err := read(buffer)
		if err == unix.ERANGE && size < 1<<20 {
			continue
		}
		return string(buffer[:max(n, 0)]), err
	}
}
