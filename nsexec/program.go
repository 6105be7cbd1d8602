package nsexec

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A program is a list of system calls that a process makes which has no Go
// runtime, no stack and no signal handler: a clone of a thread that shares its
// memory. Go code cannot run there, so the list is data, made beforehand, and a
// few lines of assembly walk it (program_*.s).
//
// The process writes results into the list. Whoever started it must keep the list
// reachable while it runs.
type program []systemCall

// A systemCall is one step. The assembly knows its layout.
type systemCall struct {
	number  uintptr
	args    [6]*uintptr // where the arguments are, so that one can be another call's result
	result  uintptr     // what the kernel returned
	onError *systemCall // where to go on when that is an error; nil: the next step
}

// cloneProgram clones the calling thread by clone3(2); the child walks the list from first. It
// never returns in the child. All signals must be blocked.
//
//go:noescape
func cloneProgram(args *cloneArgs, first *systemCall) (pid uintptr)

// cloneArgs is struct clone_args of clone3(2), since Linux 5.7.
type cloneArgs struct {
	flags, pidfd uint64
	_            [2]uint64
	exitSignal   uint64
	_            [5]uint64
	cgroup       uint64
}

// newProgram makes an empty program with room for n steps: steps may not move.
func newProgram(n int) program { return make(program, 0, n) }

// add appends a step, and returns it for reference by later ones.
func (p *program) add(onError *systemCall, number uintptr, args ...*uintptr) *systemCall {
	*p = (*p)[:len(*p)+1]
	return (*p)[len(*p)-1].set(onError, number, args)
}

// last fills the last place, which is reached by way of an error only.
func (p *program) last(number uintptr, args ...*uintptr) *systemCall {
	return (*p)[:cap(*p)][cap(*p)-1].set(nil, number, args)
}

func (c *systemCall) set(onError *systemCall, number uintptr, args []*uintptr) *systemCall {
	*c = systemCall{number: number, onError: onError}
	for i := range c.args {
		c.args[i] = &zero
	}
	copy(c.args[:], args)
	return c
}

var zero uintptr

// number makes an argument of a constant.
func number(v int) *uintptr {
	u := uintptr(v)
	return &u
}

// address makes an argument of what a pointer points to, which must be on the heap, or global, and kept there.
func address(p unsafe.Pointer) *uintptr {
	u := uintptr(p)
	return &u
}

// err returns what went wrong in a call, after it was made.
func (c *systemCall) err() error {
	if c.result > ^uintptr(4095) {
		return syscall.Errno(-c.result)
	}
	return nil
}

// start runs the program in a clone of the calling thread, with all signals blocked, here and in the clone, for which
// no handler of ours is fit. Where there is an error and a process id, the clone is there all the same.
func (p program) start(args *cloneArgs) (pid int, err error) {
	var all, before unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &before); err != nil {
		return 0, fmt.Errorf("block signals: %w", err)
	}
	r := cloneProgram(args, &p[0])
	c := systemCall{result: r}
	if err := c.err(); err != nil {
		r = 0
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil); err != nil {
		return int(r), fmt.Errorf("restore signals: %w", err)
	}
	return int(r), c.err()
}
