package rootfs

import (
	"fmt"

	"golang.org/x/sys/unix"

	"mayfly/mount"
)

// Pivot enters the root file system, and lets go of the host's.
func (b *Builder) Pivot() error {
	// The container's procfs, the only one that a path leads to from here on, does not
	// know the thread.
	fd, err := unix.Open("/proc/thread-self", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("/proc/thread-self: %w", err)
	}
	b.ThreadProc = fd
	if b.Plan.Spec.Root.Readonly {
		if err := b.tree.SetAttrs(unix.MOUNT_ATTR_RDONLY, 0, false); err != nil {
			return err
		}
	}
	return mount.Pivot(b.tree)
}
