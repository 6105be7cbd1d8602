package nsexec

import (
	"fmt"
	goruntime "runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// StartInUserNamespace executes a program in a new user namespace, which has no ids yet, and a new mount namespace, with these
// capabilities there (bit N is capability N), as the caller's child with their descriptors 0, 1 and 2. It is killed when the
// calling thread ends, unless it is executed from a file that grants something: so the thread must be locked, and stay.
//
// File capabilities count for nothing if path leads to a file that is open already, as /proc/self/exe does: its mount is not one
// of the new namespace's. What clone(2) refuses is returned as it is.
func StartInUserNamespace(path string, args, env []string, capabilities uint64) (pid int, err error) {
	b := &birth{}
	if b.path, err = unix.BytePtrFromString(path); err != nil {
		return 0, err
	}
	if b.argv, err = syscall.SlicePtrFromStrings(args); err != nil {
		return 0, err
	}
	if b.envp, err = syscall.SlicePtrFromStrings(env); err != nil {
		return 0, err
	}
	b.steps = newProgram(8 + 64)
	fail := b.steps.last(unix.SYS_EXIT, number(127))
	must := func(nr uintptr, args ...*uintptr) { b.execute = b.steps.add(fail, nr, args...) }
	must(unix.SYS_PRCTL, number(unix.PR_SET_PDEATHSIG), number(int(unix.SIGKILL)))
	// What is to outlive execve(2) of an ordinary file: ambient, and so inheritable.
	b.caps = Capabilities{Effective: capabilities, Permitted: capabilities, Inheritable: capabilities}.data()
	must(unix.SYS_CAPSET, address(unsafe.Pointer(&capHeader)), address(unsafe.Pointer(&b.caps)))
	for c := range 64 {
		if capabilities&(1<<c) != 0 {
			must(unix.SYS_PRCTL, number(unix.PR_CAP_AMBIENT), number(unix.PR_CAP_AMBIENT_RAISE), number(c), &zero, &zero)
		}
	}
	must(unix.SYS_RT_SIGPROCMASK, number(unix.SIG_SETMASK), address(unsafe.Pointer(&b.noSignals)), &zero, number(8))
	must(unix.SYS_EXECVE, address(unsafe.Pointer(b.path)), address(unsafe.Pointer(&b.argv[0])), address(unsafe.Pointer(&b.envp[0])))
	pid, err = b.steps.start(&cloneArgs{exitSignal: uint64(unix.SIGCHLD),
		flags: unix.CLONE_VM | unix.CLONE_VFORK | unix.CLONE_CLEAR_SIGHAND | unix.CLONE_NEWUSER | unix.CLONE_NEWNS})
	defer goruntime.KeepAlive(b)
	if pid == 0 {
		return 0, err
	}
	if err = firstError(err, b.failure()); err != nil {
		_, _ = wait(pid)
		return 0, fmt.Errorf("execute %s: %w", path, err)
	}
	return pid, nil
}
