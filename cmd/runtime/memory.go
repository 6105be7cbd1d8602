package main

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// releaseLater unmaps the program's own pages when a command has been running for a
// while, of which the supervisor then sleeps the most: they are two thirds of the
// memory that it holds. The few that it needs again come back from the page cache.
func releaseLater() {
	time.AfterFunc(time.Second, func() {
		start, end := program()
		start &^= uintptr(os.Getpagesize() - 1)
		_, _, _ = unix.RawSyscall(unix.SYS_MADVISE, start, end-start, unix.MADV_DONTNEED)
	})
}
