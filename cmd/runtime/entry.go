package main

import (
	"math"
	"unsafe"

	"mayfly/runtime/rootless"

	"golang.org/x/sys/unix"
)

// beforeGo is what the program does before the Go runtime starts, when its process has
// a single thread and nothing of the caller's has been used yet. The program's entry
// point (entry_*.s) calls it, on the stack that the kernel has made, and then enters
// the Go runtime.
//
// No Go runtime is there yet: no goroutine, no heap, no handler for a fault. (The Go
// runtime has such functions of its own, for its start as a library.) So this function,
// and every one that it calls, keeps to these rules:
//
//   - It is marked nosplit, since a check for room on the stack would look for a
//     goroutine, and norace, since the race detector would look for one too.
//   - It allocates nothing, writes no pointer to the heap or to a global variable, and
//     uses no map, interface, closure, defer, or conversion of strings.
//   - No index and no division in it can panic.
//   - It calls nothing of other packages, and makes system calls by systemCall.
//
// A function that breaks them ends the process by SIGSEGV whenever it is called. The
// tests link a program with the entry point, and have it take every way through here.
//
// What it does, in this order, and why Go code in main could not do it:
//
//  1. Descriptors from 3 on become close-on-exec, so that no program that this one
//     executes has them: package os may execute one from another goroutine.
//  2. All signals are unblocked: the Go runtime keeps the mask for its threads.
//  3. Variables of the environment whose names begin with GO are hidden: the Go runtime
//     takes its settings from them.
//  4. Soft limits on resources are raised to the hard ones (limits.go): the Go runtime
//     does not survive a lack of memory or threads.
//  5. For a caller without any privilege it makes a user namespace, which the kernel
//     lets only a process of a single thread make (see enterNamespace).
//  6. It maps the pages of the program in two calls. That is for speed alone: as the
//     Go runtime starts they would be mapped by some seventy page faults (8 % of
//     `runtime version` on a virtual machine where a fault is dear).
//
// The Makefile links the program so: with the entry point (the linker's flag -E), and
// statically (CGO_ENABLED=0), since a dynamic loader would have run before. Without the
// entry point the program starts as any other Go program, and is not fit for a grant.
//
//go:nosplit
//go:norace
func beforeGo(stack unsafe.Pointer) {
	closeOnExec()
	unblockSignals()
	argc := *(*int)(stack)
	argv := unsafe.Add(stack, word)
	environment := unsafe.Add(argv, (argc+1)*word)
	asked, auxv := hideGoVariables(environment)
	raiseLimits()
	process := readAuxv(auxv)
	if process.euid != 0 && (asked || startsContainer(argc, argv)) && !hasCapabilities() {
		enterNamespace(process)
	}
	populate(process.pageSize)
}

var _ = beforeGo // its caller is assembly

const word = int(unsafe.Sizeof(uintptr(0)))

// earlyCommands are the commands for which beforeGo makes a user namespace as soon as
// it sees their name in the place of the first argument. They are those whose entry in
// the command table has early set, which a test compares. Other commands that take
// place in a user namespace execute the program again, with rootless.EntryVariable set
// (rootless.ExecuteAgain).
var earlyCommands = [...]string{"run", "shell"}

//go:nosplit
//go:norace
func closeOnExec() {
	systemCall(unix.SYS_CLOSE_RANGE, 3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC, 0) // since Linux 5.11
}

//go:nosplit
//go:norace
func unblockSignals() {
	var none uint64
	systemCall(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&none)), 0, unsafe.Sizeof(none))
}

// hideGoVariables makes \1 of the first letter of each variable of the environment
// whose name begins with GO; package access makes G of it for the container's
// environment. asked tells that rootless.EntryVariable is set: the program asks itself
// for a user namespace. auxv is what follows the environment on the stack.
//
//go:nosplit
//go:norace
func hideGoVariables(environment unsafe.Pointer) (asked bool, auxv unsafe.Pointer) {
	for {
		entry := *(*unsafe.Pointer)(environment)
		environment = unsafe.Add(environment, word)
		if entry == nil {
			return asked, environment
		}
		if hasPrefix(entry, rootless.EntryVariable+"=") {
			asked = true
		}
		if hasPrefix(entry, "GO") {
			*(*byte)(entry) = 1
		}
	}
}

// startsContainer tells whether the first argument is one of earlyCommands.
//
//go:nosplit
//go:norace
func startsContainer(argc int, argv unsafe.Pointer) bool {
	if argc < 2 {
		return false
	}
	argument := *(*unsafe.Pointer)(unsafe.Add(argv, word))
	for i := range earlyCommands {
		name := &earlyCommands[i]
		if hasPrefix(argument, *name) && *(*byte)(unsafe.Add(argument, len(*name))) == 0 {
			return true
		}
	}
	return false
}

// hasPrefix tells whether a text that ends with a zero byte begins with a prefix, which
// has no such byte. It does not look behind the first byte that differs.
//
//go:nosplit
//go:norace
func hasPrefix(text unsafe.Pointer, prefix string) bool {
	for i := range len(prefix) {
		if *(*byte)(unsafe.Add(text, i)) != prefix[i] {
			return false
		}
	}
	return true
}

// raiseLimits reads each of limits and sets its soft limit to its hard limit.
//
//go:nosplit
//go:norace
func raiseLimits() {
	for i := range limits {
		l := &limits[i]
		systemCall(unix.SYS_PRLIMIT64, 0, l.resource, 0, uintptr(unsafe.Pointer(&l.callers)))
		if l.callers.Cur != l.callers.Max {
			raised := unix.Rlimit{Cur: l.callers.Max, Max: l.callers.Max}
			systemCall(unix.SYS_PRLIMIT64, 0, l.resource, uintptr(unsafe.Pointer(&raised)), 0)
		}
	}
}

// An auxiliary is what beforeGo uses of the auxiliary vector (getauxval(3)), by which
// the kernel describes the process to itself.
type auxiliary struct{ uid, euid, gid, pageSize uintptr }

//go:nosplit
//go:norace
func readAuxv(auxv unsafe.Pointer) (a auxiliary) {
	const (
		null     = 0 // AT_NULL
		pageSize = 6 // AT_PAGESZ, and so on
		uid      = 11
		euid     = 12
		gid      = 13
	)
	for {
		entry := (*[2]uintptr)(auxv)
		switch entry[0] {
		case null:
			return a
		case pageSize:
			a.pageSize = entry[1]
		case uid:
			a.uid = entry[1]
		case euid:
			a.euid = entry[1]
		case gid:
			a.gid = entry[1]
		}
		auxv = unsafe.Add(auxv, 2*word)
	}
}

// hasCapabilities tells whether the process is permitted any capability. If in doubt,
// it is.
//
//go:nosplit
//go:norace
func hasCapabilities() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	r := systemCall(unix.SYS_CAPGET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data)), 0, 0)
	return r != 0 || data[0].Permitted|data[1].Permitted != 0
}

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

// usedBSS is how much the Go runtime uses, at its start, of the variables without a
// value that hold no pointers. The linker puts the large ones last: 32 MiB that the
// standard library's cryptography has for noise, and that are never used here, and 68
// KiB of the Go runtime's for what containermaxprocs=0 turns off.
const usedBSS = 32 << 10

// populate maps the pages of the program, those that are written to as well. The calls
// are there since Linux 5.14; their failure does no harm.
//
//go:nosplit
//go:norace
func populate(pageSize uintptr) {
	start, end := program()
	populatePages(start, end, pageSize, unix.MADV_POPULATE_READ)
	start, bss, end := variables()
	populatePages(start, min(end, bss+usedBSS), pageSize, unix.MADV_POPULATE_WRITE)
}

//go:nosplit
//go:norace
func populatePages(start, end, pageSize, how uintptr) {
	start &^= pageSize - 1
	systemCall(unix.SYS_MADVISE, start, end-start, how, 0)
}

// systemCall makes a system call (entry_*.s) and returns what the kernel returns: an
// error is negative.
func systemCall(number, a, b, c, d uintptr) (result int)

// program returns where the program's code and constants are mapped (entry_*.s).
func program() (start, end uintptr)

// variables returns where the program's variables are mapped (entry_*.s), and where
// among them those begin that have no value and hold no pointers: the last ones.
func variables() (start, bss, end uintptr)
