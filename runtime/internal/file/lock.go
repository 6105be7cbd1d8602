package file

import "golang.org/x/sys/unix"

// Flock is flock(2), which a signal can interrupt.
func Flock(fd, how int) error {
	for {
		if err := unix.Flock(fd, how); err != unix.EINTR {
			return err
		}
	}
}
