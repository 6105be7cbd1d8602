package nsexec

import (
	"fmt"
	"math"
	goruntime "runtime"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Keeper is a child of the process that keeps descriptors open for as long as the
// process lives, so that the process itself need not have them. They are the caller's,
// and when the last copy of one is closed, a file system of the caller's (FUSE) may
// never answer: a process that is killed then stays with all the rest that it has open,
// with locks and with the line of PID 1.
//
// As PID 1 it shares the memory of the process, and walks a list of system calls. It
// has no other descriptor, no capability, and blocks all signals. The caller can kill
// it: what it has is theirs.
type Keeper struct {
	pid   int
	line  *line // the keeper ends when it breaks
	steps program
}

var keeperName = [...]byte{'m', 'a', 'y', 'f', 'l', 'y', '-', 'k', 'e', 'e', 'p', 'e', 'r', 0}

// Keep gives descriptors to a new keeper; the process is to close its own. It must not
// be dumpable (see Undumpable), or must have nothing that its caller has not.
func Keep(fds []int) (*Keeper, error) {
	line, err := newLine(0)
	if err != nil {
		return nil, err
	}
	k := &Keeper{line: line}
	k.write(fds)
	goruntime.LockOSThread() // signals are blocked on it meanwhile
	k.pid, err = k.steps.start(&cloneArgs{flags: unix.CLONE_VM, exitSignal: uint64(unix.SIGCHLD)})
	goruntime.UnlockOSThread()
	if k.pid == 0 {
		line.close()
		return nil, fmt.Errorf("clone: %w", err)
	}
	line.forget()
	return k, nil
}

// write writes the keeper's program.
func (k *Keeper) write(fds []int) {
	kept := append(slices.Clone(fds), k.line.child)
	slices.Sort(kept)
	k.steps = newProgram(len(kept) + 6)
	fail := k.steps.last(unix.SYS_EXIT, number(1))
	next := 0
	for _, fd := range append(kept, math.MaxUint32+1) {
		if fd > next {
			k.steps.add(fail, unix.SYS_CLOSE_RANGE, number(next), number(fd-1), &zero)
		}
		next = fd + 1
	}
	k.steps.add(fail, unix.SYS_CAPSET, address(unsafe.Pointer(&noCapsFor)), address(unsafe.Pointer(&noCapsData)))
	k.steps.add(nil, unix.SYS_PRCTL, number(unix.PR_SET_NAME), address(unsafe.Pointer(&keeperName)))
	k.steps.add(nil, unix.SYS_READ, number(k.line.child), address(unsafe.Pointer(&oneByte)), number(1))
	k.steps.add(nil, unix.SYS_EXIT, &zero)
}

// Outlive lets the keeper live on when the process executes another program, until that
// one has closed what it finds open.
func (k *Keeper) Outlive() error { return Inherit([]int{k.line.own}) }

// Inherit lets the next program that the process executes have descriptors.
func Inherit(fds []int) error {
	for _, fd := range fds {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("hand on descriptor %d: %w", fd, err)
		}
	}
	return nil
}

// releaseWithin is how long a process waits for its keeper, which may be stopped or
// wait for a file system.
const releaseWithin = time.Second

// Release lets the keeper close what it has, and waits for that. It is for the end of a
// program.
func (k *Keeper) Release() {
	k.line.hangUp()
	k.line.close()
	ended := make(chan struct{})
	go func() {
		_, _ = wait(k.pid)
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(releaseWithin):
	}
	goruntime.KeepAlive(k)
}
