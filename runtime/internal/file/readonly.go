package file

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// A readOnlyError says already what to do.
type readOnlyError struct{ error }

func (e readOnlyError) Unwrap() error { return e.error }

// ReadOnly adds to an error what to do where a directory cannot be written to: what a
// service sees of the host can be read-only while the host is not. It adds that once.
func ReadOnly(err error, dir string) error {
	var told readOnlyError
	if !errors.Is(err, unix.EROFS) || errors.As(err, &told) {
		return err
	}
	return readOnlyError{fmt.Errorf("%w: is %s read-only? %s", err, dir, ReadOnlyAdvice(dir))}
}

// ReadOnlyAdvice is what lets a service write to a directory.
func ReadOnlyAdvice(dir string) string {
	return "a systemd unit with ProtectSystem=strict or ReadOnlyPaths= takes ReadWritePaths=" + dir
}

// IsReadOnly tells whether the mount that a directory is on is read-only, as this
// process sees it.
func IsReadOnly(dir string) (bool, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return false, fmt.Errorf("statfs %s: %w", dir, err)
	}
	return fs.Flags&unix.ST_RDONLY != 0, nil
}
