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
// the Go runtime with the arguments where beforeGo says that they are.
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
//  6. For speed alone it gives the Go runtime little to do (see hurry).
//
// The Makefile links the program so: with the entry point (the linker's flag -E), and
// statically (CGO_ENABLED=0), since a dynamic loader would have run before. Without the
// entry point the program starts as any other Go program, and is not fit for a grant.
//
//go:nosplit
//go:norace
func beforeGo(stack unsafe.Pointer) (arguments unsafe.Pointer) {
	closeOnExec()
	unblockSignals()
	argc := *(*int)(stack)
	argv := unsafe.Add(stack, word)
	environment := unsafe.Add(argv, (argc+1)*word)
	asked, auxv := hideGoVariables(environment)
	raiseLimits()
	process := readAuxv(auxv)
	does := traitsOf(argc, argv)
	if process.euid != 0 && (asked || does&early != 0) && !hasCapabilities() {
		enterNamespace(process)
	}
	if does&lean != 0 {
		hurry(argv)
		return stack
	}
	return argv
}

var _ = beforeGo // its caller is assembly

const word = int(unsafe.Sizeof(uintptr(0)))

// traits are what the entry point does for a command, which it knows by the first
// argument.
type traits uint8

const (
	// early commands get a user namespace, if the caller has no privilege. Other
	// commands that take place in a user namespace execute the program again, with
	// rootless.EntryVariable set (rootless.ExecuteAgain).
	early traits = 1 << iota
	// lean commands do one thing after the other, in a few milliseconds or waiting most
	// of the time (see hurry).
	lean
)

// commandTraits are the commands that have any. The command table has the same, which a
// test compares.
var commandTraits = [...]struct {
	name   string
	traits traits
}{
	{"run", early | lean},
	{"shell", early | lean},
	{"exec", lean},
	{"ps", lean},
	{"kill", lean},
	{"wait", lean},
	{"inspect", lean},
	{"version", lean},
}

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

// traitsOf returns the traits of the command that the first argument names.
//
//go:nosplit
//go:norace
func traitsOf(argc int, argv unsafe.Pointer) traits {
	if argc < 2 {
		return 0
	}
	argument := *(*unsafe.Pointer)(unsafe.Add(argv, word))
	for i := range commandTraits {
		name := &commandTraits[i].name
		if hasPrefix(argument, *name) && *(*byte)(unsafe.Add(argument, len(*name))) == 0 {
			return commandTraits[i].traits
		}
	}
	return 0
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
type auxiliary struct{ uid, euid, gid uintptr }

//go:nosplit
//go:norace
func readAuxv(auxv unsafe.Pointer) (a auxiliary) {
	const (
		null = 0  // AT_NULL
		uid  = 11 // AT_UID, and so on
		euid = 12
		gid  = 13
	)
	for {
		entry := (*[2]uintptr)(auxv)
		switch entry[0] {
		case null:
			return a
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

// systemCall makes a system call (entry_*.s) and returns what the kernel returns: an
// error is negative.
func systemCall(number, a, b, c, d uintptr) (result int)
