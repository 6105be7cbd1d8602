package main

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// releaseLater drops the program's own pages when the command has run for a second.
// From then on the supervisor mostly sleeps, and these pages are two thirds of its
// memory. The few that it still needs come back from the page cache.
func releaseLater() {
	time.AfterFunc(time.Second, func() {
		start, end := program()
		start &^= uintptr(os.Getpagesize() - 1)
		_, _, _ = unix.RawSyscall(unix.SYS_MADVISE, start, end-start, unix.MADV_DONTNEED)
	})
}

// program returns where the program's code and constants are mapped (entry_*.s).
func program() (start, end uintptr)
