// Package personality sets the Linux execution domain of a thread, see personality(2).
// The domains are those of package arch. The launch's thread calls it before it forks
// the command. It imports nothing of the project.
package personality

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Set sets the execution domain of the calling thread, which clone(2) and execve(2)
// pass on. The goroutine must be locked to its thread.
func Set(domain uint32) error {
	_, _, errno := unix.RawSyscall(unix.SYS_PERSONALITY, uintptr(domain), 0, 0)
	if errno != 0 {
		return fmt.Errorf("personality %#x: %w", domain, errno)
	}
	return nil
}

// Get returns the execution domain of the calling thread.
func Get() uint32 {
	domain, _, _ := unix.RawSyscall(unix.SYS_PERSONALITY, 0xffffffff, 0, 0)
	return uint32(domain)
}
