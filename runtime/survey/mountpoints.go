package survey

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/image"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/plan"
)

// missesMountPoint tells whether a mount point of the plan is missing in the image. The
// usual mount points were made when a version was sealed.
func (f *finder) missesMountPoint(inside mount.Root, r plan.Request) bool {
	var wanted []string
	for name, present := range f.Present {
		if present {
			wanted = append(wanted, name)
		}
	}
	for _, b := range slices.Concat(f.Along(r), r.Binds) {
		wanted = append(wanted, b.Destination)
	}
	for _, t := range r.Tmpfs {
		wanted = append(wanted, t.Destination)
	}
	return slices.ContainsFunc(wanted, func(name string) bool {
		if image.IsMountPoint(name) || plan.MadeInside(name, r) {
			return false
		}
		target, err := inside.Name(name)
		if err != nil {
			return true
		}
		target.Close()
		return false
	})
}

// checkTmpfs refuses a tmpfs that is too large for the caller, see plan.Tmpfs.Bounded.
func (f *finder) checkTmpfs(list []plan.Tmpfs) error {
	if len(list) == 0 || f.Caller.UID == 0 {
		return nil
	}
	var machine unix.Sysinfo_t
	if err := unix.Sysinfo(&machine); err != nil {
		return fmt.Errorf("sysinfo: %w", err)
	}
	for _, t := range list {
		if err := t.CheckSize(int64(machine.Totalram) * int64(machine.Unit)); err != nil {
			return err
		}
	}
	return nil
}

// bindsOf returns the sources of the policy's binds and of the request's.
func (f *finder) bindsOf(r plan.Request) []plan.BoundSource {
	sources := slices.Clone(f.Bound)
	for _, b := range r.Binds {
		if id, err := identify(b.Source); err == nil { // else the launch tells why
			sources = append(sources, plan.BoundSource{FileID: id, Destination: b.Destination})
		}
	}
	return sources
}

// identify returns the device and inode of a file, with the thread's rights. It follows
// symbolic links.
func identify(name string) (plan.FileID, error) {
	device, inode, err := file.Identify(name)
	return plan.FileID{Device: device, Inode: inode}, err
}
