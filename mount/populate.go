package mount

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// The functions below fill a file system that was just made, before anybody else
// can see it. name is a single component, or a path through directories that the
// caller made here.

// Mkdir makes a directory of the mode less the umask.
func (t Tree) Mkdir(name string, mode uint32) error {
	if err := mkdirat(t.fd, name, mode); err != nil {
		return fmt.Errorf("mkdir %s: %w", name, err)
	}
	return nil
}

// Chmod gives a file or directory a mode.
func (t Tree) Chmod(name string, mode uint32) error {
	if err := unix.Fchmodat(t.fd, name, mode, 0); err != nil {
		return fmt.Errorf("chmod %s: %w", name, err)
	}
	return nil
}

// Symlink makes a symbolic link called name.
func (t Tree) Symlink(target, name string) error {
	if err := symlinkat(target, t.fd, name); err != nil {
		return fmt.Errorf("symlink %s: %w", name, err)
	}
	return nil
}

// Touch makes an empty file of mode 0644 less the umask. It opens nothing: while a file is open for
// writing, even in a process that only shares the descriptors, its mount cannot be made read-only.
func (t Tree) Touch(name string) error {
	if err := touch(t.fd, name); err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	return nil
}

// WriteFile makes a file with the content, of mode 0644 less the umask.
func (t Tree) WriteFile(name, content string) error {
	fd, err := openat(t.fd, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	defer closeFD(fd)
	for data := []byte(content); len(data) > 0; {
		n, err := write(fd, data)
		if err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		data = data[n:]
	}
	return nil
}
