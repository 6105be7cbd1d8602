package rootfs

import (
	"fmt"

	"golang.org/x/sys/unix"

	"mayfly/mount"
)

// Pivot makes the root file system the thread's root directory and detaches the host's
// (pivot_root(2)). It makes the mount read-only before if the plan says so, and opens
// ThreadProc. The thread needs CAP_SYS_ADMIN.
func (b *Builder) Pivot() error {
	// From here on paths lead to the container's procfs only. The thread, which is not
	// in the container's PID namespace, is not in that.
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
