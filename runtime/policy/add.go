package policy

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/runtime/internal/file"
)

// Add writes a new file of policy.d, whose text the caller has checked, and returns its
// path. It replaces none. A launch sees the whole file or none of it. Only root may
// call it.
func Add(name, text string) (path string, err error) {
	path = filepath.Join(system.dir, dropIns, name+".toml")
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" || name == "" || strings.HasPrefix(name, ".") {
		return path, fmt.Errorf("%q names no file of the policy: want letters, digits, '.', '_' and '-'", name)
	}
	dir, err := system.open()
	if errors.Is(err, unix.ENOENT) {
		return path, fmt.Errorf("%w: `runtime grant` installs the policy", err)
	}
	if err != nil {
		return path, err
	}
	defer unix.Close(dir)
	if err := unix.Mkdirat(dir, dropIns, 0o755); err != nil && err != unix.EEXIST {
		return path, fmt.Errorf("make %s: %w", filepath.Dir(path), err)
	}
	fd, err := system.openat(dir, dropIns, filepath.Dir(path), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return path, err
	}
	defer unix.Close(fd)
	return path, file.ReadOnly(writeNew(fd, name+".toml", []byte(text)), path)
}

// writeNew writes a file under a hidden name, which the policy's reader leaves out, and
// then gives it its own.
func writeNew(dir int, name string, data []byte) error {
	hidden := "." + name + ".new"
	_ = unix.Unlinkat(dir, hidden, 0) // of a process that was killed
	fd, err := unix.Openat(dir, hidden, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("make %s: %w", name, err)
	}
	err = file.WriteFD(fd, data)
	if err == nil {
		err = unix.Fchmod(fd, 0o644)
	}
	if err == nil {
		err = unix.Fsync(fd)
	}
	unix.Close(fd)
	if err == nil {
		err = unix.Renameat2(dir, hidden, dir, name, unix.RENAME_NOREPLACE)
	}
	if err != nil {
		_ = unix.Unlinkat(dir, hidden, 0)
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
