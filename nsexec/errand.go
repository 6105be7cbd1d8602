package nsexec

import (
	"fmt"
	goruntime "runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An errand is a list of system calls that a child of the calling thread makes, as root. The child shares the thread's
// memory and descriptors and has ids and capabilities of its own: the thread itself never becomes root.
type errand struct {
	steps program
	names []string
	fail  *systemCall
	caps  capData
	kept  []any // what the kernel is pointed to
}

// newErrand begins a list of at most n steps. To become root takes CAP_SETUID, permitted to the thread.
//
//go:noinline
func newErrand(n int) (*errand, error) {
	own, err := CurrentCapabilities()
	if err != nil {
		return nil, err
	}
	own.Effective = own.Permitted
	e := &errand{steps: newProgram(n + 4), caps: own.data()}
	e.fail = e.steps.last(unix.SYS_EXIT, number(1))
	e.must("capset", unix.SYS_CAPSET, address(unsafe.Pointer(&capHeader)), address(unsafe.Pointer(&e.caps)))
	e.must("become root", unix.SYS_SETRESUID, &root.uid, &root.uid, &root.uid)
	return e, nil
}

// must adds a step, after whose failure there is no other.
func (e *errand) must(name string, nr uintptr, args ...*uintptr) *systemCall {
	e.names = append(e.names, name)
	return e.steps.add(e.fail, nr, args...)
}

// dumpable adds the step of opening the process's memory, which becoming root has closed.
func (e *errand) dumpable() {
	e.must("set dumpable", unix.SYS_PRCTL, number(unix.PR_SET_DUMPABLE), number(1))
}

// open adds the step of opening a file. Its result is the descriptor.
func (e *errand) open(path string, flags int) *systemCall {
	name := append([]byte(path), 0)
	e.kept = append(e.kept, name)
	return e.must("open "+path, unix.SYS_OPENAT, number(unix.AT_FDCWD), address(unsafe.Pointer(&name[0])), number(flags|unix.O_CLOEXEC), &zero)
}

// run runs the errand to its end.
func (e *errand) run() error {
	pid, err := e.start(&cloneArgs{flags: unix.CLONE_VFORK})
	if pid == 0 {
		return err
	}
	_, waited := wait(pid)
	return firstError(err, e.failure(), waited)
}

// start starts the errand. The child is left to be waited for, and the errand to be kept as long.
func (e *errand) start(args *cloneArgs) (pid int, err error) {
	e.must("exit", unix.SYS_EXIT, &zero)
	goruntime.LockOSThread() // signals are blocked on it meanwhile
	defer goruntime.UnlockOSThread()
	args.flags |= unix.CLONE_VM | unix.CLONE_FILES
	args.exitSignal = uint64(unix.SIGCHLD)
	if pid, err = e.steps.start(args); err != nil {
		err = fmt.Errorf("clone: %w", err)
	}
	return pid, err
}

// failure returns what went wrong in the steps that have been taken.
func (e *errand) failure() error {
	defer goruntime.KeepAlive(e)
	for i, name := range e.names {
		if err := e.steps[i].err(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
