package doctor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"mayfly/runtime/access"
	"mayfly/runtime/image"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/policy"
	"mayfly/runtime/policy/rule"
)

// leastFree is the share of a store's space that should be free: BTRFS gets into
// trouble before it is full.
const leastFree = 0.05

func (m machine) examineStore() Finding {
	found, advice := "", "as root `runtime store init`"
	err := m.lookAsRoot(func() error {
		settings, err := policy.LoadSettings(m.here)
		if err != nil {
			return err
		}
		s, err := image.Open(m.here, settings.Store)
		if err != nil {
			return err
		}
		defer s.Close()
		space, err := s.Status()
		if err != nil {
			return err
		}
		found = fmt.Sprintf("%s, %s, %d images, %.0f %% free, %d orphans", space.Path, space.Kind, space.Images,
			100*float64(space.Free)/float64(max(space.Size, 1)), space.Leftovers)
		switch {
		case float64(space.Free) < leastFree*float64(space.Size):
			advice = "as root `runtime image prune IMAGE`, or a larger disk"
			return fmt.Errorf("%s is nearly full", space.Path)
		case space.Leftovers > 0:
			advice = "`runtime gc`"
			return fmt.Errorf("%d copies whose supervisor is dead", space.Leftovers)
		}
		advice = "as root `runtime grant`"
		return access.CheckStore(s)
	})
	if errors.Is(err, os.ErrPermission) { // the store may be in order
		return finding("image store", false, "", err, "root can see it, and who has a grant")
	}
	return finding("image store", true, found, err, advice)
}

// examineStoreMount examines whether the store is mounted nosuid and nodev: otherwise
// device nodes and setuid programs of images work outside of containers.
func (m machine) examineStoreMount() Finding {
	err := m.lookAsRoot(func() error {
		settings, err := policy.LoadSettings(m.here)
		if err != nil {
			return nil // examinePolicy tells
		}
		s, err := image.Open(m.here, settings.Store)
		if err != nil {
			return nil // examineStore tells
		}
		defer s.Close()
		open, err := s.OpenMount()
		if err == nil && open {
			err = fmt.Errorf("%s is mounted without nosuid or nodev: device nodes and setuid programs of images work there", settings.Store)
		}
		return err
	})
	return finding("store's mount", false, "nosuid, nodev where it is the store's own", err,
		"as root `runtime store mount`, and the two options where it is mounted at boot: fstab(5) or its mount unit")
}

func (m machine) examineState() Finding {
	var fs unix.Statfs_t
	err := unix.Statfs("/run", &fs)
	if err == nil && fs.Bavail*uint64(fs.Bsize) < 1<<20 {
		err = errors.New("/run is full")
	}
	advice := "remove what fills /run"
	if readOnly := m.recordsAreReadOnly(); err == nil && readOnly != nil {
		err, advice = readOnly, file.ReadOnlyAdvice(m.here.State())
	}
	return finding("/run", true, "has room for records", err, advice)
}

// recordsAreReadOnly returns an error if records of containers cannot be written.
func (m machine) recordsAreReadOnly() error {
	dir := m.here.State()
	readOnly, err := file.IsReadOnly(dir)
	if errors.Is(err, os.ErrNotExist) { // it is made by the first launch
		readOnly, err = file.IsReadOnly(filepath.Dir(dir))
	}
	if err == nil && readOnly {
		err = fmt.Errorf("%s is read-only here", dir)
	}
	return err
}

// examineStoreWriting examines whether snapshots, sessions and images can be written.
func (m machine) examineStoreWriting() Finding {
	path, found := rule.DefaultStore, "can be written to"
	err := m.lookAsRoot(func() error {
		if settings, err := policy.LoadSettings(m.here); err == nil { // examinePolicy tells
			path = settings.Store
		}
		readOnly, err := file.IsReadOnly(path)
		if err != nil { // examineStore tells
			found = "not told"
		}
		if readOnly {
			return fmt.Errorf("%s is read-only here: images without versions, --writable, sessions and changes of images write there", path)
		}
		return nil
	})
	return finding("store's writing", false, found, err, file.ReadOnlyAdvice(path))
}
