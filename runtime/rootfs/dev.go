package rootfs

import (
	"errors"

	"golang.org/x/sys/unix"

	"mayfly/mount"
)

// devLinks are the symbolic links of /dev: target, name.
var devLinks = [][2]string{
	{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"},
	{"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"},
}

// populateDev fills /dev with links, with mount points, and with device nodes that are
// bound from the host: to make them would take CAP_MKNOD. /dev/console is the null
// device until openConsole (package launch) mounts a terminal on it. Afterwards /dev is
// read-only.
func (b *Builder) populateDev(dev mount.Tree) error {
	for _, link := range devLinks {
		if err := dev.Symlink(link[0], link[1]); err != nil {
			return err
		}
	}
	for _, dir := range []string{"pts", "shm", "mqueue"} {
		if err := dev.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := dev.Touch("console"); err != nil {
		return err
	}
	for name, tree := range b.sources.devices {
		if err := makeParents(dev, name); err != nil {
			return err
		}
		if err := dev.Touch(name); err != nil {
			return err
		}
		if err := b.Scratch.bindNode(tree, "/dev/"+name); err != nil {
			return err
		}
	}
	if !b.Plan.Spec.Process.Terminal {
		null, err := mount.Clone(b.sources.devices["null"].FD(), "", false)
		if err != nil {
			return err
		}
		b.made.add(null)
		if err := b.Scratch.bindNode(null, "/dev/console"); err != nil {
			return err
		}
	}
	return dev.SetAttrs(unix.MOUNT_ATTR_RDONLY, 0, false)
}

// makeParents makes the directories above a name that are missing.
func makeParents(tree mount.Tree, name string) error {
	for i := range len(name) {
		if name[i] != '/' {
			continue
		}
		if err := tree.Mkdir(name[:i], 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
	return nil
}
