// Package inherit takes care of the descriptors that the program was started with:
// which stay open until it ends, and which the command gets.
//
// Package main calls it first and last of all, since a descriptor that is opened
// earlier would look like the caller's. What it keeps is of the process, as descriptors
// are. It runs with the caller's own rights.
package inherit

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/internal/given"
)

// inherited is what the program was started with besides descriptors 0, 1 and 2: a lock
// of flock(1), the end of a pipe. Callers rely on its being open until the program
// ends. No program that this one starts gets it (the entry point has marked it
// close-on-exec).
var inherited struct {
	fds    []int
	passed []int          // are open here too, for the command
	keeper *nsexec.Keeper // has them instead; nil: nobody
}

// Find comes before anything else is opened.
func Find(opened []int) error {
	if err := given.Err; err != nil {
		return fmt.Errorf("read /proc/self/fd: %w%s", err, ifTooMany(err))
	}
	inherited.fds = slices.DeleteFunc(slices.Clone(given.Descriptors), func(fd int) bool {
		return slices.Contains(opened, fd)
	})
	return checkRoom(given.Descriptors)
}

// room is how many descriptors there are to be left for the program until a keeper has
// those that it was started with. (The Go runtime ends the program where it has too
// few.)
const room = 16

// checkRoom refuses where there is less. What is open beyond the limit takes no room.
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

// ifTooMany says what to do where there are too many descriptors.
func ifTooMany(err error) string {
	if !errors.Is(err, unix.EMFILE) {
		return ""
	}
	return ", and the limit lets not many more be: close some, or raise it (`ulimit -Hn`)"
}

// Keep keeps what the program was started with open until Depart, in a
// process of its own. Of those that are passed, this one keeps a copy, until the
// command has its own.
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

// Depart is called last of all.
func Depart() {
	if inherited.keeper != nil {
		inherited.keeper.Release()
	}
}

// HandOn lets the program have them that this one is about to execute in its place.
func HandOn() error {
	if inherited.keeper != nil {
		return inherited.keeper.Outlive()
	}
	return nsexec.Inherit(inherited.fds)
}

// ClosePassed closes here what is passed, when the command has it.
func ClosePassed() {
	for _, fd := range inherited.passed {
		unix.Close(fd)
	}
	inherited.passed = nil
}
