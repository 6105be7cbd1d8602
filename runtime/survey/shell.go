package survey

import (
	"path"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/runtime/plan"
)

// findShell finds whether the image lacks the shell that SHELL would name.
func (f *finder) findShell(inside mount.Root, r plan.Request) {
	shell := f.ShellOf(r)
	f.NoShell = path.IsAbs(shell) && shell != plan.PlainShell && !f.Covers(r, shell) && !has(inside, shell)
}

// has tells whether a name exists in the image, or cannot be known to be missing.
func has(inside mount.Root, name string) bool {
	fd, err := inside.Open(name, unix.O_PATH)
	if err == nil {
		unix.Close(fd)
	}
	return err != unix.ENOENT && err != unix.ENOTDIR
}
