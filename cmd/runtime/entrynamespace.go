package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// namespace is what enterNamespace did. bootstrap tells package rootless.
var namespace struct {
	tried    bool
	result   int    // 0: the process is in the namespaces; else -errno of what failed
	uid, gid uint32 // the caller's, which the process cannot ask for any more
	mappers  [2]mapper
}

// A mapper is a child of the process, outside of its user namespace.
type mapper struct {
	pipe [2]int32 // its reading end, which is the child's, and its writing end
	pid  int32    // 0: there is none
}

// argumentBlock is what a mapper reads from its pipe: the pointers to a path, to
// arguments and to an environment, as execve(2) takes them, and then what they point to
// (nsexec.ArgumentBlock). It has the same address in the process that writes it and in
// the mapper.
var argumentBlock [4096 / unsafe.Sizeof(uintptr(0))]uintptr

// enterNamespace gives the process a user namespace, and in it a copy of the caller's
// mounts. First it forks two mappers, which stay outside and wait: each executes one
// command, newuidmap(1) or newgidmap(1), when package rootless has found out which ids
// the caller may use.
//
//go:nosplit
//go:norace
func enterNamespace(process auxiliary) {
	openStandardFiles()
	n := &namespace
	n.tried = true
	n.uid, n.gid = uint32(process.uid), uint32(process.gid)
	for i := range n.mappers {
		if n.result = n.mappers[i].fork(); n.result < 0 {
			return
		}
	}
	n.result = systemCall(unix.SYS_UNSHARE, unix.CLONE_NEWUSER|unix.CLONE_NEWNS, 0, 0, 0)
}

// openStandardFiles opens /dev/null in the place of descriptor 0, 1 or 2 where that is
// closed, as the Go runtime does later: a pipe of a mapper's would take the place, and
// be the standard input or output of this program and of the mapper's command.
//
//go:nosplit
//go:norace
func openStandardFiles() {
	const null = "/dev/null\x00"
	for fd := range uintptr(3) {
		if systemCall(unix.SYS_FCNTL, fd, unix.F_GETFD, 0, 0) == -int(unix.EBADF) {
			// All below are open: this one is the next that the kernel gives.
			systemCall(unix.SYS_OPENAT, 0, uintptr(unsafe.Pointer(unsafe.StringData(null))), unix.O_RDWR, 0)
		}
	}
}

// fork makes the mapper. A negative result is that of the call that failed.
//
//go:nosplit
//go:norace
func (m *mapper) fork() (result int) {
	if r := systemCall(unix.SYS_PIPE2, uintptr(unsafe.Pointer(&m.pipe)), unix.O_CLOEXEC, 0, 0); r < 0 {
		return r
	}
	pid := systemCall(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0)
	if pid == 0 {
		m.live()
	}
	m.pid = int32(max(pid, 0))
	return pid
}

// live is the mapper's life. It is killed with its parent, and ends when the parent
// closes the pipe.
//
//go:nosplit
//go:norace
func (m *mapper) live() {
	systemCall(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0)
	systemCall(unix.SYS_CLOSE, uintptr(m.pipe[1]), 0, 0, 0)
	n := systemCall(unix.SYS_READ, uintptr(m.pipe[0]), uintptr(unsafe.Pointer(&argumentBlock)), unsafe.Sizeof(argumentBlock), 0)
	status := uintptr(0)
	if n >= 3*word {
		systemCall(unix.SYS_EXECVE, argumentBlock[0], argumentBlock[1], argumentBlock[2], 0)
		status = 127
	}
	for {
		systemCall(unix.SYS_EXIT_GROUP, status, 0, 0, 0)
	}
}
