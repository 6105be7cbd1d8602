package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// usedBSS is how much the Go runtime uses, at its start, of the variables without a
// value that hold no pointers. The linker puts the large ones last: 32 MiB that the
// standard library's cryptography has for noise, and that are never used here, and 68
// KiB of the Go runtime's for what containermaxprocs=0 turns off.
const usedBSS = 32 << 10

// Around a page of a file that is mapped, the kernel maps those that it has in the page
// cache (fault_around_bytes): this many in all.
const pagesAround = 16

// windows are the first pages of all such groups of pages, as populate asks for them.
var windows [128]unix.RemoteIovec

// populate maps the pages of the program's code and constants, and of its variables.
// The table of lines and frames, a third of the program, is left alone: few pages of it
// are used. A call for all pages at once looks at each of them, also at those that are
// there already, and takes three times as long. Failures do no harm.
//
//go:nosplit
//go:norace
func populate(pageSize uintptr) {
	start, end, _ := program()
	start &^= pageSize - 1
	n := 0
	for page := start; page < end && n < len(windows); n++ {
		window := (*unix.RemoteIovec)(unsafe.Add(unsafe.Pointer(&windows), uintptr(n)*unsafe.Sizeof(windows[0])))
		window.Base, window.Len = page, int(pageSize)
		page = (page + pagesAround*pageSize) &^ (pagesAround*pageSize - 1)
	}
	self := -10000 // PIDFD_SELF_THREAD_GROUP; it and this advice since Linux 6.15
	if systemCall(unix.SYS_PROCESS_MADVISE, uintptr(self), uintptr(unsafe.Pointer(&windows)), uintptr(n), unix.MADV_POPULATE_READ) < 0 {
		systemCall(unix.SYS_MADVISE, start, end-start, unix.MADV_POPULATE_READ, 0) // since Linux 5.14
	}
	start, bss, end := variables()
	start &^= pageSize - 1
	systemCall(unix.SYS_MADVISE, start, min(end, bss+usedBSS)-start, unix.MADV_POPULATE_WRITE, 0)
}

// program returns where the program's code and constants are mapped (entry_*.s), and
// where among them the table of lines and frames begins: the last of them.
func program() (start, table, end uintptr)

// variables returns where the program's variables are mapped (entry_*.s), and where
// among them those begin that have no value and hold no pointers: the last ones.
func variables() (start, bss, end uintptr)
