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
// process lives. The process then closes its own: they are files that the caller has
// opened, and to close the last descriptor of a file may wait for ever, where a file
// system of the caller's (FUSE) does not answer. A process that is killed and waits
// there would keep all the rest that it has open: locks, and the line of PID 1.
//
// As PID 1 does (see Init), the keeper shares the memory of the process and walks a
// program. It has no descriptors but these and its end of a line, has no capability,
// and blocks all signals. The caller can kill it, and loses only what is the caller's.
type Keeper struct {
	pid   int
	line  *line // the keeper ends when it breaks
	steps program
}

var keeperName = [...]byte{'m', 'a', 'y', 'f', 'l', 'y', '-', 'k', 'e', 'e', 'p', 'e', 'r', 0}

// Keep starts a keeper of these descriptors. The caller of Keep still owns its own
// descriptors and is to close them; it must call Release at the end of the program.
//
// It may be called from any thread and needs no capability; Linux 5.9 is needed
// (close_range(2)). The process must not be dumpable (see Undumpable), or its memory
// must hold nothing that is secret from the caller: the keeper is the caller's process.
func Keep(fds []int) (*Keeper, error) {
	line, err := newLine(0)
	if err != nil {
		return nil, err
	}
	k := &Keeper{line: line}
	k.write(fds)
	goruntime.LockOSThread() // signals are blocked on it during the clone
	k.pid, err = k.steps.start(&cloneArgs{flags: unix.CLONE_VM, exitSignal: uint64(unix.SIGCHLD)})
	goruntime.UnlockOSThread()
	if k.pid == 0 {
		line.close()
		return nil, fmt.Errorf("clone: %w", err)
	}
	line.forget()
	return k, nil
}

// write writes the keeper's program: it closes every descriptor but fds and its end of
// the line, gives up its capabilities, reads until the line breaks, and exits. It has a
// descriptor table of its own from the clone on.
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

// Outlive lets the keeper live on when the process executes another program: that one
// inherits the line, and ends the keeper when it closes it or ends. It may be called
// from any thread.
func (k *Keeper) Outlive() error { return Inherit([]int{k.line.own}) }

// Inherit clears close-on-exec of descriptors, so that the next program that the
// process executes has them. It may be called from any thread.
func Inherit(fds []int) error {
	for _, fd := range fds {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("hand on descriptor %d: %w", fd, err)
		}
	}
	return nil
}

// releaseWithin bounds how long Release waits: the caller may have stopped the keeper,
// and a file system may not answer as the keeper closes a file.
const releaseWithin = time.Second

// Release ends the keeper and waits for that, for a second at most. It may be called
// from any thread, and is meant for the end of a program: what is locked or piped by
// these descriptors is free before the program has ended.
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
