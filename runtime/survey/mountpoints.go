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

// missesMountPoint tells whether something is to be mounted where a version has nothing to mount on. The usual mount points were
// made when it was sealed.
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

// checkTmpfs bounds what a caller asks for.
func (f *finder) checkTmpfs(list []plan.Tmpfs) error {
	if len(list) == 0 || f.Caller.UID == 0 {
		return nil
	}
	var machine unix.Sysinfo_t
	if err := unix.Sysinfo(&machine); err != nil {
		return fmt.Errorf("sysinfo: %w", err)
	}
	for _, t := range list {
		if err := t.Bounded(int64(machine.Totalram) * int64(machine.Unit)); err != nil {
			return err
		}
	}
	return nil
}

// bindsOf adds what the request binds to what the policy does.
func (f *finder) bindsOf(r plan.Request) []plan.BoundSource {
	sources := slices.Clone(f.Bound)
	for _, b := range r.Binds {
		if id, err := identify(b.Source); err == nil { // else the launch says what is wrong
			sources = append(sources, plan.BoundSource{FileID: id, Destination: b.Destination})
		}
	}
	return sources
}

// identify follows symbolic links, with the rights that the thread has.
func identify(name string) (plan.FileID, error) {
	device, inode, err := file.Identify(name)
	return plan.FileID{Device: device, Inode: inode}, err
}
