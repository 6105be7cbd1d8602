package rootfs

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/here"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/plan"
	"mayfly/runtime/privilege"
)

// devices are the host's device nodes that every container has: those of the OCI
// runtime specification.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

// sources are what the container gets from the host: detached copies of mounts
// (open_tree(2)). They are taken while the thread is still in the host's mount
// namespace, since the kernel copies no mounts of another namespace.
type sources struct {
	here       here.Here
	binds      map[string]mount.Tree // by destination
	devices    map[string]mount.Tree // by name
	hidden     []string              // destinations that an empty directory covers
	devCovered bool                  // the scratch covers the host's /dev by now
}

// SourceCapabilities are what OpenSources needs: CAP_SYS_ADMIN copies mounts,
// CAP_SETUID and CAP_SETGID are for opening sources with the caller's ids.
const SourceCapabilities = privilege.SysAdmin | privilege.SetIDs

// openSources opens everything. The caller closes the trees, after an error too.
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
			continue // left out, as the policy's binds that the host does not have
		}
		if err != nil {
			return s, fmt.Errorf("device %s: %w", name, err)
		}
		s.devices[strings.TrimPrefix(name, "/dev/")] = tree
	}
	return s, s.openBinds(p, p.Spec.Mounts)
}

// openDevice takes a detached copy of the mount of a device node in the host's /dev. A
// symbolic link is not followed.
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

// trees are all copies. One that was not attached is gone when its descriptor is closed.
func (s *sources) trees() []mount.Tree {
	return slices.AppendSeq(slices.Collect(maps.Values(s.binds)), maps.Values(s.devices))
}
