package nsexec

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A program is a list of system calls that a clone of a thread makes. The clone shares
// the memory of the process (CLONE_VM) and has no stack, no Go runtime and no signal
// handler of its own: no Go code can run there. So the list is data that is made
// beforehand, and a few lines of assembly walk it (program_*.s). It ends with exit(2)
// or execve(2).
//
// The clone writes results into the list. The goroutine that starts a program must keep
// the list, and all memory that its arguments point to, reachable while the clone runs;
// that memory is on the heap or global, where nothing moves.
type program []systemCall

// A systemCall is one step. The assembly takes the layout from the compiler (go_asm.h).
type systemCall struct {
	number  uintptr
	args    [6]*uintptr // where the arguments are: one may be another step's result
	result  uintptr     // what the kernel returned
	onError *systemCall // the step to go on at after an error; nil: the next one
}

// cloneProgram clones the calling thread by clone3(2) and returns what that returns. In
// the clone it never returns: the clone walks the list from first on. All signals must
// be blocked, since the clone has the process's handlers and no stack for them.
//
//go:noescape
func cloneProgram(args *cloneArgs, first *systemCall) (pid uintptr)

// cloneArgs is struct clone_args of clone3(2), as it is since Linux 5.7.
type cloneArgs struct {
	flags, pidfd uint64
	_            [2]uint64
	exitSignal   uint64
	_            [5]uint64
	cgroup       uint64
}

// newProgram makes an empty program with room for n steps. It cannot grow: steps point
// to each other.
func newProgram(n int) program { return make(program, 0, n) }

// add appends a step, and returns it for later steps to refer to. It panics where there
// is no room.
func (p *program) add(onError *systemCall, number uintptr, args ...*uintptr) *systemCall {
	*p = (*p)[:len(*p)+1]
	return (*p)[len(*p)-1].set(onError, number, args)
}

// last fills the last place of the program's room. add must not reach it: the clone
// gets there as some step's onError only.
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

// zero is the argument 0. Nothing writes to it.
var zero uintptr

// number makes an argument of a constant.
func number(v int) *uintptr {
	u := uintptr(v)
	return &u
}

// address makes an argument of a pointer. What that points to must be on the heap or
// global, and be kept reachable by somebody else: the argument is a number.
func address(p unsafe.Pointer) *uintptr {
	u := uintptr(p)
	return &u
}

// err returns the errno of a step that the clone has made; nil: it succeeded, or was
// not made.
func (c *systemCall) err() error {
	if c.result > ^uintptr(4095) {
		return syscall.Errno(-c.result)
	}
	return nil
}

// close closes the descriptor that a step has opened in the process's table. A step
// that failed or was not made has opened none: its result is an error or 0, which is
// never the result of an open, since in a Go program descriptors 0 to 2 are open.
func (c *systemCall) close() {
	if c.err() == nil && c.result != 0 {
		unix.Close(int(c.result))
	}
}

// start runs the program in a clone of the calling thread, which must be locked. All
// signals are blocked in the clone, and in the thread during the call. Where there are
// both an error and a process id, the clone runs all the same. ENOSYS: the kernel, or
// an emulator, has no clone3(2).
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
