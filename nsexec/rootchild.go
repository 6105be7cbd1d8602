package nsexec

import (
	"fmt"
	goruntime "runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A rootChild is a child of the calling thread that becomes root and then makes a few
// system calls, given as a program. It shares the memory and the descriptor table of
// the process; its ids and capabilities are its own. So a thread that has CAP_SETUID
// permitted gets something done as root, and never is root itself.
type rootChild struct {
	steps program
	names []string    // of the steps, for errors
	fail  *systemCall // the exit after a step that failed
	caps  capData
	kept  []any // memory that only the steps point to
}

// newRootChild begins the program of a child that takes at most n steps besides
// becoming root. The child has every capability effective that the calling thread is
// permitted; CAP_SETUID must be one of them.
//
//go:noinline
func newRootChild(root Root, n int) (*rootChild, error) {
	own, err := CurrentCapabilities()
	if err != nil {
		return nil, err
	}
	own.Effective = own.Permitted
	c := &rootChild{steps: newProgram(n + 4), caps: own.data()}
	c.fail = c.steps.last(unix.SYS_EXIT, number(1))
	c.must("capset", unix.SYS_CAPSET, address(unsafe.Pointer(&capHeader)), address(unsafe.Pointer(&c.caps)))
	c.must("become root", unix.SYS_SETRESUID, number(int(root.UID)), number(int(root.UID)), number(int(root.UID)))
	return c, nil
}

// must adds a step. If it fails, the child exits.
func (c *rootChild) must(name string, nr uintptr, args ...*uintptr) *systemCall {
	c.names = append(c.names, name)
	return c.steps.add(c.fail, nr, args...)
}

// dumpable adds a step that makes the process dumpable: the kernel has cleared that
// when the child changed its ids, since both share their memory.
func (c *rootChild) dumpable() {
	c.must("set dumpable", unix.SYS_PRCTL, number(unix.PR_SET_DUMPABLE), number(1))
}

// open adds a step that opens a file. The step's result is the descriptor, which is the
// process's too.
func (c *rootChild) open(path string, flags int) *systemCall {
	name := append([]byte(path), 0)
	c.kept = append(c.kept, name)
	return c.must("open "+path, unix.SYS_OPENAT, number(unix.AT_FDCWD), address(unsafe.Pointer(&name[0])), number(flags|unix.O_CLOEXEC), &zero)
}

// run starts the child and waits for its end. The calling thread does not run
// meanwhile (CLONE_VFORK).
func (c *rootChild) run() error {
	pid, err := c.start(&cloneArgs{flags: unix.CLONE_VFORK})
	if pid == 0 {
		return err
	}
	_, waited := wait(pid)
	return firstError(err, c.failure(), waited)
}

// start starts the child. Its caller must wait for it, and keep c reachable until then.
// Where there are both an error and a process id, the child runs all the same.
func (c *rootChild) start(args *cloneArgs) (pid int, err error) {
	c.must("exit", unix.SYS_EXIT, &zero)
	goruntime.LockOSThread() // signals are blocked on it during the clone
	defer goruntime.UnlockOSThread()
	args.flags |= unix.CLONE_VM | unix.CLONE_FILES
	args.exitSignal = uint64(unix.SIGCHLD)
	if pid, err = c.steps.start(args); err != nil {
		err = fmt.Errorf("clone: %w", err)
	}
	return pid, err
}

// failure returns the error of the step that failed, after the child has ended.
func (c *rootChild) failure() error {
	defer goruntime.KeepAlive(c)
	for i, name := range c.names {
		if err := c.steps[i].err(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
