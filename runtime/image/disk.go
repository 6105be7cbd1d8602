package image

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"mayfly/btrfs"
	"mayfly/mount"
	"mayfly/runtime/internal/file"
)

// A Disk is a throw-away directory of a container in the store: a subvolume, or a plain
// directory on an overlay store. The container's record says that it is in use. The
// holder of a Disk must Remove it.
type Disk struct {
	name string
	dir  int // the run directory
	fd   int
}

// NewDisk makes a throw-away directory with directories like /tmp in it. The container's
// record must exist already. name is from ref.SnapshotName.
func (s *Store) NewDisk(name string, directories []string) (*Disk, error) {
	dir, err := s.runDir()
	if err != nil {
		return nil, err
	}
	d := &Disk{name: name, dir: dir, fd: -1}
	if s.BTRFS {
		err = btrfs.Create(dir, name)
	} else {
		err = unix.Mkdirat(dir, name, 0o700)
	}
	if err != nil {
		unix.Close(dir)
		return nil, fmt.Errorf("make a directory in %s: %w", s.Spool(), file.ReadOnly(err, s.Path))
	}
	if d.fd, err = openHere(dir, name); err == nil {
		err = d.fill(directories)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a directory in %s: %w", s.Spool(), err), d.Remove())
	}
	return d, nil
}

func (d *Disk) fill(directories []string) error {
	for _, name := range directories {
		if err := unix.Mkdirat(d.fd, name, 0o700); err != nil {
			return err
		}
		if err := unix.Fchmodat(d.fd, name, 0o1777, 0); err != nil {
			return err
		}
	}
	return unix.Fchmod(d.fd, 0o711) // for Mount as root inside; nobody else comes this far
}

// Mount makes a detached mount of a directory of the disk, with these attributes
// (MOUNT_ATTR_*) and mapped ids (see Snapshot.Mount). The caller owns it.
func (d *Disk) Mount(name string, attrs uint64, userns *os.File) (mount.Tree, error) {
	fd, err := openHere(d.fd, name)
	if err != nil {
		return mount.Tree{}, fmt.Errorf("open directory %s of the disk: %w", name, err)
	}
	defer unix.Close(fd)
	return mountTree(fd, attrs, userns)
}

// Remove deletes the disk with all that is on it.
func (d *Disk) Remove() error {
	if err := removeAndClose(d.dir, d.name, d.fd); err != nil {
		return fmt.Errorf("remove the disk %s: %w", d.name, err)
	}
	return nil
}
