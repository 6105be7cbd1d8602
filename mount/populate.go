package mount

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// The functions below fill a file system that was just made, before any other process
// can see it, and trust it therefore. name is a single component, or a path of
// directories that the caller has made there. They need no capability where the file
// system lets the thread's ids for files write.

// Mkdir makes a directory, of the mode less the umask.
func (t Tree) Mkdir(name string, mode uint32) error {
	if err := mkdirat(t.fd, name, mode); err != nil {
		return fmt.Errorf("mkdir %s: %w", name, err)
	}
	return nil
}

// Chmod sets the mode of a file or directory. A symbolic link is followed.
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

// Touch makes an empty file, of mode 0644 less the umask. It does not open the file:
// while one is open for writing, in any process that shares the descriptor, its mount
// cannot be made read-only (EBUSY).
func (t Tree) Touch(name string) error {
	if err := touch(t.fd, name); err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	return nil
}

// WriteFile makes a file with the content, of mode 0644 less the umask. EEXIST:
// something has the name.
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
