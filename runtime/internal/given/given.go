// Package given finds out which descriptors the program was started with.
//
// It has to do so before package os begins: where descriptor 0, 1 or 2 is one that does
// not wait (O_NONBLOCK), that has the Go runtime watch it, which opens an epoll(7) and
// an eventfd(2). The language says that of two packages which can begin the one with
// the lesser path does; so this one imports nothing that imports os. (The Go runtime
// itself, before all packages, would watch for the control group's limit on CPUs:
// updatemaxprocs=0 turns that off.)
package given

import (
	"slices"
	"strconv"
	"syscall"
)

// Descriptors are those from 3 on, in order; Err is why they are not known.
var Descriptors, Err = find()

const sysCloseRange = 436

const directory = "/proc/self/fd"

// find also closes them where there is no /proc: without it nothing runs that they
// could be kept for.
func find() ([]int, error) {
	// Since Linux 6.2 the size of the directory is the number of descriptors. The Go
	// runtime has seen to it that 0, 1 and 2 are open.
	var st syscall.Stat_t
	if syscall.Stat(directory, &st) == nil && st.Size == 3 {
		return nil, nil
	}
	fds, err := list()
	if err == syscall.ENOENT {
		_, _, _ = syscall.RawSyscall(sysCloseRange, 3, 1<<32-1, 0)
		return nil, nil
	}
	return fds, err
}

// list lists what the process has open from 3 on.
func list() ([]int, error) {
	dir, err := syscall.Open(directory, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(dir)
	var fds []int
	var buffer [4096]byte
	for {
		n, err := syscall.ReadDirent(dir, buffer[:])
		if err != nil {
			return nil, err
		}
		if n == 0 {
			slices.Sort(fds)
			return fds, nil
		}
		_, _, names := syscall.ParseDirent(buffer[:n], -1, nil)
		for _, name := range names {
			if fd, err := strconv.Atoi(name); err == nil && fd > 2 && fd != dir {
				fds = append(fds, fd)
			}
		}
	}
}
