// Package inherit takes care of the descriptors that the program was started with:
// which stay open until it ends, and which the command gets.
//
// Package main calls it first and last of all: a descriptor that was opened before Find
// would look like the caller's. Its state is the process's, as descriptors are. It runs
// with the caller's own rights, on the main goroutine; ClosePassed is called on the
// launch's thread.
package inherit

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/internal/given"
)

// inherited are the descriptors besides 0, 1 and 2 that the program was started with: a
// lock of flock(1), the end of a pipe. Callers rely on their being open until the
// program ends. No program that this one starts gets them, since the entry point has
// marked them close-on-exec.
var inherited struct {
	fds    []int
	passed []int          // also open in this process, for the command
	keeper *nsexec.Keeper // has fds instead; nil: this process has them
}

// Find finds the descriptors that the program was started with, except opened, which
// the entry point has opened itself. It must be called before anything else is opened.
// It fails if the limit of open files leaves too little room.
func Find(opened []int) error {
	if err := given.Err; err != nil {
		return fmt.Errorf("read /proc/self/fd: %w%s", err, ifTooMany(err))
	}
	inherited.fds = slices.DeleteFunc(slices.Clone(given.Descriptors), func(fd int) bool {
		return slices.Contains(opened, fd)
	})
	return checkRoom(given.Descriptors)
}

// room is how many descriptors the program needs until a keeper has the caller's. (The
// Go runtime ends the program if it has too few.)
const room = 16

// checkRoom returns an error if the limit of open files leaves less than room.
// Descriptors above the limit take no room.
func checkRoom(fds []int) error {
	if len(fds) == 0 {
		return nil
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	below, _ := slices.BinarySearch(fds, int(min(limit.Cur, 1<<31-1)))
	if open := 3 + uint64(below); open+room > limit.Cur {
		return fmt.Errorf("%d descriptors are open already%s", open, ifTooMany(unix.EMFILE))
	}
	return nil
}

// ifTooMany returns advice for EMFILE, "" for other errors.
func ifTooMany(err error) string {
	if !errors.Is(err, unix.EMFILE) {
		return ""
	}
	return ", and the limit lets not many more be: close some, or raise it (`ulimit -Hn`)"
}

// Given tells whether the program was started with a descriptor, and still has it. All
// others are the program's own, and perhaps root's.
func Given(fd int) bool { return fd >= 0 && fd <= 2 || slices.Contains(inherited.fds, fd) }

// Keep moves the descriptors that the program was started with into a process of their
// own (nsexec.Keeper), which keeps them open until Depart. Those in passed stay open in
// this process too, until ClosePassed.
func Keep(passed ...int) error {
	inherited.passed = passed
	if len(inherited.fds) == 0 {
		return nil
	}
	keeper, err := nsexec.Keep(inherited.fds)
	if err != nil {
		return fmt.Errorf("keep open descriptors: %w%s", err, ifTooMany(err))
	}
	for _, fd := range inherited.fds {
		if !slices.Contains(passed, fd) {
			unix.Close(fd)
		}
	}
	inherited.fds, inherited.keeper = nil, keeper
	return nil
}

// Depart ends the keeper. It is called last of all.
func Depart() {
	if inherited.keeper != nil {
		inherited.keeper.Release()
	}
}

// HandOn makes the program that this one is about to execute in its place inherit the
// descriptors.
func HandOn() error {
	if inherited.keeper != nil {
		return inherited.keeper.Outlive()
	}
	return nsexec.Inherit(inherited.fds)
}

// ClosePassed closes the passed descriptors in this process, when the command has them.
func ClosePassed() {
	for _, fd := range inherited.passed {
		unix.Close(fd)
	}
	inherited.passed = nil
}
