package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/image/tree"
)

// A parent is the directory of the last entry. Consecutive entries are mostly in the
// same directory.
type parent struct {
	path     string
	fd       int
	depth    int  // below the top
	inherits bool // it has a default ACL, which new files in it inherit
}

// stale is the path of a parent that may have been removed.
const stale = "\x00"

func isDirectory(dir int, base string) bool {
	var st unix.Stat_t
	return unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// directory sets a directory's attributes now, and its time in Finish.
func (x *Extractor) directory(dir int, base, name string, h *tar.Header, attributes []tree.Xattr) error {
	fd, err := unix.Openat(dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if err := x.own(fd, &st, h, attributes); err != nil {
		return err
	}
	return x.setLater(name, h.ModTime)
}

// maxDepth is the limit of nested directories. The time to read a tree grows with the
// depth of each file. Real archives stay far below: node_modules is known to have a
// hundred levels.
const maxDepth = 256

// A place is where a tree is made.
type place struct {
	mountID uint64
	depth   int // of the top directory, from the root directory of the host
}

func placeOf(top int) (place, error) {
	here, err := mount.TreeFromFD(top).Place()
	if err != nil {
		return place{}, err
	}
	depth, err := depthOf(top)
	return place{here.MountID, depth}, err
}

// depthOf returns the depth of an open directory in the file tree, also if symbolic
// links led to it. The kernel returns a path of at most 4096 bytes (PATH_MAX).
func depthOf(fd int) (int, error) {
	var place [unix.PathMax]byte
	n, err := unix.Readlink("/proc/self/fd/"+strconv.Itoa(fd), place[:])
	if err != nil {
		return 0, err
	}
	return bytes.Count(place[:n], []byte("/")), nil
}

func errDepth() error {
	return fmt.Errorf("%w: more than %d directories would be in each other", unix.ENAMETOOLONG, maxDepth)
}

// depth returns the depth of an open directory below the top.
func (x *Extractor) depth(fd int) (int, error) {
	depth, err := depthOf(fd)
	if depth -= x.place.depth; err == nil && depth > maxDepth {
		err = errDepth()
	}
	return depth, err
}

// openParent opens a directory of the tree, and makes it if it is missing. Links on the
// way are followed inside the tree. The extractor owns the descriptor.
func (x *Extractor) openParent(name string) (int, error) {
	if name == x.parent.path {
		return x.parent.fd, nil
	}
	const flags = unix.O_RDONLY | unix.O_DIRECTORY
	fd, err := x.inside.Open("/"+name, flags)
	if err == unix.ENOENT {
		if err = x.makeParents(name); err == nil {
			fd, err = x.inside.Open("/"+name, flags)
		}
	}
	depth := 0
	if err == nil {
		if depth, err = x.depth(fd); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		return -1, fmt.Errorf("directory %s: %w", quoted(name), err)
	}
	x.forgetParent()
	_, err = unix.Fgetxattr(fd, "system.posix_acl_default", nil)
	x.parent = parent{name, fd, depth, err == nil}
	return fd, nil
}

// makeParents makes directories for which the archive has no entries, or not yet. Their
// time is always the same, so that an archive always gives the same tree.
func (x *Extractor) makeParents(name string) error {
	if strings.Count(name, "/")+1 > maxDepth {
		return errDepth()
	}
	made, err := x.inside.Create("/"+name, true, x.place.mountID)
	if err == nil {
		err = x.limits.takeEntries(made)
	}
	for ; err == nil && made > 0; made-- {
		err = x.setLater(name, time.Unix(0, 0))
		name = path.Dir(name)
	}
	return err
}

// setLater notes the time of a directory, which Finish sets when the directory is
// complete.
func (x *Extractor) setLater(name string, t time.Time) error {
	n, err := fmt.Fprintf(x.timesOut, "%d %d %s\x00", t.Unix(), t.Nanosecond(), name)
	return errors.Join(err, x.limits.takeBytes(int64(n)))
}

func (x *Extractor) forgetParent() {
	if x.parent.fd >= 0 {
		unix.Close(x.parent.fd)
	}
	x.parent = parent{path: stale, fd: -1}
}

// Finish sets the times of directories. Nothing may be extracted after it.
func (x *Extractor) Finish(ctx context.Context) error {
	if err := x.timesOut.Flush(); err != nil {
		return fmt.Errorf("keep the times of directories: %w", err)
	}
	if _, err := x.times.Seek(0, io.SeekStart); err != nil {
		return err
	}
	in := bufio.NewReaderSize(x.times, 64<<10)
	for {
		line, err := in.ReadString(0)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = x.setTime(strings.TrimSuffix(line, "\x00"))
		}
		if err != nil {
			return fmt.Errorf("set the times of directories: %w", err)
		}
	}
}

func (x *Extractor) setTime(line string) error {
	var ts unix.Timespec
	if _, err := fmt.Sscanf(line, "%d %d ", &ts.Sec, &ts.Nsec); err != nil {
		return err
	}
	name := strings.SplitN(line, " ", 3)[2]
	fd, err := x.inside.Open("/"+name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP { // a later layer has removed or replaced it
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.UtimesNanoAt(fd, "", []unix.Timespec{ts, ts}, unix.AT_EMPTY_PATH)
}
