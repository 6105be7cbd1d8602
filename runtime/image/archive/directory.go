package archive

import (
	"archive/tar"
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/image/tree"
)

// A parent is the directory that the last entry was in. Entries come mostly by directories.
type parent struct {
	path     string
	fd       int
	inherits bool // it has a default ACL, which what is made in it gets
}

// stale is the path of a parent that may have been removed.
const stale = "\x00"

func isDirectory(dir int, base string) bool {
	var st unix.Stat_t
	return unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// directory sets a directory's attributes now, and its time when everything is in it.
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

// openParent opens a directory of the tree, and makes it where it is missing. Links on the way are followed
// inside the tree. The descriptor is the extractor's.
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
	if err != nil {
		return -1, fmt.Errorf("directory %s: %w", strconv.QuoteToASCII(name), err)
	}
	x.forgetParent()
	_, err = unix.Fgetxattr(fd, "system.posix_acl_default", nil)
	x.parent = parent{name, fd, err == nil}
	return fd, nil
}

// makeParents makes directories that the archive has no entries for, or not yet. Their time is always the same: one
// archive makes one tree.
func (x *Extractor) makeParents(name string) error {
	here, err := mount.TreeFromFD(x.top).Place()
	if err != nil {
		return err
	}
	for i := range len(name) + 1 {
		if i < len(name) && name[i] != '/' {
			continue
		}
		fd, err := x.inside.Open("/"+name[:i], unix.O_PATH)
		if err == nil {
			unix.Close(fd)
			continue
		}
		if _, err := x.inside.Create("/"+name[:i], true, here.MountID); err != nil {
			return err
		}
		if err := x.setLater(name[:i], time.Unix(0, 0)); err != nil {
			return err
		}
	}
	return nil
}

// setLater notes the time that a directory shall have when everything is in it.
func (x *Extractor) setLater(name string, t time.Time) error {
	_, err := fmt.Fprintf(x.timesOut, "%d %d %s\x00", t.Unix(), t.Nanosecond(), name)
	return err
}

func (x *Extractor) forgetParent() {
	if x.parent.fd >= 0 {
		unix.Close(x.parent.fd)
	}
	x.parent = parent{path: stale, fd: -1}
}

// Finish sets the times of directories. Nothing may be extracted after it.
func (x *Extractor) Finish() error {
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
