package file

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ReadOnly adds to an error what to do where a directory cannot be written to: what a
// service sees of the host can be read-only while the host is not.
func ReadOnly(err error, dir string) error {
	if !errors.Is(err, unix.EROFS) {
		return err
	}
	return fmt.Errorf("%w: is %s read-only? a systemd unit with ProtectSystem=strict or ReadOnlyPaths= takes ReadWritePaths=%s", err, dir, dir)
}
