package rootfs

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/here"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/plan"
	"mayfly/runtime/privilege"
)

// devices are the host's device nodes that a container sees: those of the OCI
// specification.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

// sources are the host's files and directories that a container will see, each a
// detached copy of its mount. They are taken while the thread is still in the
// host's mount namespace, since the kernel copies no other namespace's mounts.
type sources struct {
	here    here.Here
	binds   map[string]mount.Tree // by destination
	devices map[string]mount.Tree // by name
	hidden  []string              // destinations that are covered with emptiness
	again   bool                  // the scratch is on /dev by now
}

// SourceCapabilities are the capabilities with which the thread opens sources: to copy mounts,
// and to be the caller in between.
const SourceCapabilities = privilege.SysAdmin | privilege.SetIDs

func openSources(h here.Here, p *plan.Plan) (*sources, error) {
	s := &sources{here: h, binds: map[string]mount.Tree{}, devices: map[string]mount.Tree{}}
	for _, name := range devices {
		tree, err := mount.Clone(unix.AT_FDCWD, "/dev/"+name, false)
		if err != nil {
			return s, err
		}
		s.devices[name] = tree
	}
	for _, name := range p.Devices {
		tree, err := openDevice(name)
		if err == unix.ENOENT {
			continue // as with binds: what the host does not have
		}
		if err != nil {
			return s, fmt.Errorf("device %s: %w", name, err)
		}
		s.devices[strings.TrimPrefix(name, "/dev/")] = tree
	}
	return s, s.openBinds(p, p.Spec.Mounts)
}

// openDevice takes a copy of a device node of the host's /dev.
func openDevice(name string) (mount.Tree, error) {
	fd, err := unix.Open(name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return mount.Tree{}, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return mount.Tree{}, err
	}
	if err := file.CheckDeviceNode(st.Mode); err != nil {
		return mount.Tree{}, err
	}
	return mount.Clone(fd, "", false)
}

// Close releases what was not attached, and the descriptors of what was.
func (s *sources) Close() error {
	var errs []error
	for _, trees := range []map[string]mount.Tree{s.binds, s.devices} {
		for _, tree := range trees {
			errs = append(errs, tree.Close())
		}
	}
	return errors.Join(errs...)
}
