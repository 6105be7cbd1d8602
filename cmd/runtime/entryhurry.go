package main

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// timerSlack is how much later than asked for the kernel may wake a thread of the
// program, in nanoseconds. The Go runtime's monitor asks to be woken every 20 µs, and
// each time takes the processor from the thread that works.
const timerSlack = 1_000_000

// hurried is what hurry has changed, for unhurry and for the command in the container.
var hurried struct {
	done  bool
	slack int // the caller's timer slack, in nanoseconds
}

// setting is what hurry adds to the environment.
var setting = [...]byte{'G', 'O', 'M', 'A', 'X', 'P', 'R', 'O', 'C', 'S', '=', '1', 0}

// hurry spares the Go runtime work at its start that a lean command does not need:
//
//   - The Go runtime gets a single processor for goroutines, by a variable of the
//     environment: with two it wakes a second thread for each goroutine that begins,
//     which finds nothing to do. (A goroutine in a system call that waits does not
//     hold the processor for long.)
//   - Its monitor sleeps longer (timerSlack).
//   - The limit of open files is three, so that it cannot open any: it would read the
//     control group's limit on CPUs, whatever its settings say, in ten system calls.
//
// unhurry takes back the first and the third.
//
//go:nosplit
//go:norace
func hurry(argv unsafe.Pointer) {
	hurried.done = true
	hurried.slack = systemCall(unix.SYS_PRCTL, unix.PR_GET_TIMERSLACK, 0, 0, 0)
	systemCall(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, timerSlack, 0, 0)
	most := limits[openFiles].callers.Max
	few := unix.Rlimit{Cur: min(3, most), Max: most}
	systemCall(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&few)), 0)
	addVariable(argv, unsafe.Pointer(&setting))
}

// addVariable adds a variable to the end of the environment. Arguments and environment
// move down by one word, over argc, which the assembly has read (entry_*.s).
//
//go:nosplit
//go:norace
func addVariable(argv, variable unsafe.Pointer) {
	for nils := 0; nils < 2; argv = unsafe.Add(argv, word) {
		next := *(*uintptr)(argv)
		if next == 0 {
			nils++
		}
		if nils == 2 {
			next = uintptr(variable)
		}
		*(*uintptr)(unsafe.Add(argv, -word)) = next
	}
}

// unhurry takes back what hurry has done for the start of the Go runtime. It is called
// first of all in main. (Package syscall has raised the limit of open files already,
// and would lower it for programs that this one executes.)
func unhurry() error {
	if !hurried.done {
		return nil
	}
	_ = os.Unsetenv("GOMAXPROCS")
	most := limits[openFiles].callers.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: most, Max: most})
}
