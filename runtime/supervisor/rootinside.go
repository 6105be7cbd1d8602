package supervisor

import (
	"errors"
	"fmt"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/nsexec"
	"mayfly/runtime/access"
	"mayfly/runtime/here"
	"mayfly/runtime/image"
	"mayfly/runtime/plan"
	"mayfly/runtime/privilege"
)

// makeUserNamespace makes the user namespace that the command will be root of. It
// returns nil for a plan without root inside. The caller closes the file.
func makeUserNamespace(h here.Here, p *plan.Plan) (*os.File, error) {
	if !p.RootInside() {
		return nil, nil
	}
	fd, err := nsexec.NewUserNamespace(h.Root(), idMaps(p.Spec.Linux.UIDMappings), idMaps(p.Spec.Linux.GIDMappings), p.KeepGroups, p.Rootless)
	if errors.Is(err, unix.ENOSPC) {
		err = fmt.Errorf("%w: this machine allows no more of them, see user.max_user_namespaces in sysctl", err)
	}
	if err != nil {
		return nil, fmt.Errorf("make a user namespace: %w", err)
	}
	return os.NewFile(uintptr(fd), "user namespace"), nil
}

// makeMapped mounts the root file system for root inside, so that root's files are root
// inside's. With the host ids of root inside it then appends the plan's lines to files
// and puts the plan's files into it.
func (s *provision) makeMapped(p *plan.Plan, store *image.Store, img *image.Image) error {
	uid, gid := p.RootOnHost()
	return privilege.AsUser(uint32(uid), uint32(gid), access.StoreCapabilities(store), func() (err error) {
		err = s.mountAll(p, img)
		if errors.Is(err, unix.EINVAL) {
			err = fmt.Errorf("%w: this kernel cannot map the owners of files there: of a store on BTRFS it can, of an overlay from Linux 6.13 on", err)
		}
		for _, f := range p.Root.Append {
			if err == nil {
				err = mount.RootAt(s.mounts.Tree.FD()).Append(f.Path, f.Content)
			}
		}
		if err == nil {
			err = s.replace(p, img)
		}
		return err
	})
}

func idMaps(list []specs.LinuxIDMapping) []nsexec.IDMap {
	var maps []nsexec.IDMap
	for _, m := range list {
		maps = append(maps, nsexec.IDMap{Inside: m.ContainerID, Outside: m.HostID, Count: m.Size})
	}
	return maps
}
