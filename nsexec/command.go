package nsexec

import (
	"fmt"
	"math"
	goruntime "runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Command is what StartCommand executes.
type Command struct {
	Path  string // of the program, in the thread's root
	Args  []string
	Env   []string
	Files [3]uintptr // descriptors 0, 1 and 2, each that number itself or above 2
	// Kept are other descriptors that it has, from 3 on and in order; it has none
	// besides.
	Kept []int
	// Terminal is a descriptor of what becomes the controlling terminal; 0: it has
	// none.
	Terminal int
	Limits   []Limit
	Filter   []unix.SockFilter // seccomp filter that the command starts under; nil: none but the thread's
	// Cgroup is the open directory of a control group of version 2 that the command is born in, which is root's; 0: that
	// of the process. The thread needs CAP_SETUID permitted, which the command does not get.
	Cgroup int
	// UserNamespace is entered by the command, which becomes its root; nil: none. The thread needs CAP_SETUID permitted.
	UserNamespace *UserNamespace
	// Dirs are entered by the command, with its own rights, each that can be: the last counts. None: the thread's.
	Dirs []string
	// DirRequired: without the last of them the command is not executed.
	DirRequired bool
}

// A Limit is a resource limit (RLIMIT_*) of the command.
type Limit struct {
	Resource int
	unix.Rlimit
}

// StartCommand starts the command as leader of a new session, with everything that the
// calling thread has been confined to. An error is the errno of execve(2), or tells of
// a step before it.
//
// What lies between clone and execve is a list of system calls, as for PID 1: so the
// command can be bounded, be born in a control group and come under a filter which the
// thread itself need not obey. The thread waits as with vfork(2).
//
// The command closes every descriptor from 3 on that it is not to have, also those that
// somebody else left open in this process (close_range(2), since Linux 5.9), before it
// looks up a path: see write. Handled signals have their default action
// (CLONE_CLEAR_SIGHAND, since Linux 5.5), ignored ones stay ignored, none is blocked.
func StartCommand(c Command) (*Process, error) {
	b, err := c.birth()
	if err != nil {
		return nil, err
	}
	p := &Process{pidfd: -1, others: c.UserNamespace != nil}
	args := &cloneArgs{flags: unix.CLONE_VM | unix.CLONE_VFORK | unix.CLONE_PIDFD | unix.CLONE_CLEAR_SIGHAND,
		exitSignal: uint64(unix.SIGCHLD), pidfd: uint64(uintptr(unsafe.Pointer(&b.pidfd)))}
	if c.Cgroup != 0 {
		args.flags |= unix.CLONE_INTO_CGROUP
		args.cgroup = uint64(c.Cgroup)
		err = b.asOwnerOfCgroup(func() error {
			p.PID, err = b.steps.start(args)
			return err
		})
	} else {
		p.PID, err = b.steps.start(args)
	}
	if p.PID != 0 {
		p.pidfd = int(b.pidfd)
	}
	if err != nil {
		return nil, fmt.Errorf("clone: %w", firstError(err, p.discard()))
	}
	if err := b.failure(); err != nil {
		return nil, firstError(err, p.discard())
	}
	p.Dir = b.entered()
	return p, nil
}

// firstError returns the error that matters most.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// A birth is what a command does before it is executed, with all that the kernel is pointed to: on the heap, where
// nothing moves.
type birth struct {
	steps   program
	execute *systemCall
	own     Capabilities // the thread's, and the command's
	uid     int

	path       *byte
	dirs       []*byte
	chdirs     []*systemCall
	argv, envp []*byte
	limits     []Limit
	filter     unix.SockFprog
	caps       capData
	noSignals  unix.Sigset_t
	pidfd      int32
}

func (c *Command) birth() (*birth, error) {
	b := &birth{limits: c.Limits, uid: unix.Getuid()}
	var err error
	if b.path, err = unix.BytePtrFromString(c.Path); err != nil {
		return nil, err
	}
	if b.argv, err = syscall.SlicePtrFromStrings(c.Args); err != nil {
		return nil, err
	}
	if b.envp, err = syscall.SlicePtrFromStrings(c.Env); err != nil {
		return nil, err
	}
	if b.dirs, err = syscall.SlicePtrFromStrings(c.Dirs); err != nil {
		return nil, err
	}
	if b.own, err = CurrentCapabilities(); err != nil {
		return nil, err
	}
	if len(c.Filter) > 0 {
		b.filter = unix.SockFprog{Len: uint16(len(c.Filter)), Filter: &c.Filter[0]}
	}
	for i, fd := range c.Files {
		if fd < uintptr(len(c.Files)) && fd != uintptr(i) {
			return nil, fmt.Errorf("descriptor %d as %d: %w", fd, i, unix.EINVAL)
		}
	}
	b.write(c)
	return b, nil
}

// write writes the list.
func (b *birth) write(c *Command) {
	room := 16 + len(c.Limits) + len(c.Dirs) + 2*len(c.Kept)
	if c.UserNamespace != nil {
		room += 5 + 64 // ids, and at most one for each capability
	}
	b.steps = newProgram(room)
	fail := b.steps.last(unix.SYS_EXIT, number(127))
	must := func(nr uintptr, args ...*uintptr) *systemCall { return b.steps.add(fail, nr, args...) }

	must(unix.SYS_SETSID)
	for i, fd := range c.Files {
		if int(fd) == i {
			must(unix.SYS_FCNTL, number(i), number(unix.F_SETFD), &zero)
		} else {
			must(unix.SYS_DUP3, number(int(fd)), number(i), &zero)
		}
	}
	if c.Terminal > 0 {
		must(unix.SYS_IOCTL, number(c.Terminal), number(unix.TIOCSCTTY), &zero)
	}
	for i := range b.limits {
		must(unix.SYS_PRLIMIT64, &zero, number(b.limits[i].Resource), address(unsafe.Pointer(&b.limits[i].Rlimit)), &zero)
	}
	if c.UserNamespace != nil {
		b.enter(c.UserNamespace, must)
	} else if c.Cgroup != 0 {
		// What made the group accept us is over: these are the ids that the thread has, for files too.
		must(unix.SYS_SETRESUID, number(b.uid), number(b.uid), number(b.uid))
		b.own.Permitted &^= ownerOfCgroup
		b.caps = b.own.data()
		must(unix.SYS_CAPSET, address(unsafe.Pointer(&capHeader)), address(unsafe.Pointer(&b.caps)))
	}
	// What follows looks up paths that are the caller's: a file system of theirs (FUSE)
	// may never answer. The clone has copies of all descriptors of the process until it
	// executes something, and with them the locks on the container's record and on the
	// image: they would outlive the supervisor, and nobody would see whose they are.
	next := len(c.Files)
	for _, fd := range c.Kept {
		must(unix.SYS_FCNTL, number(fd), number(unix.F_SETFD), &zero)
		if fd > next {
			must(unix.SYS_CLOSE_RANGE, number(next), number(fd-1), &zero)
		}
		next = fd + 1
	}
	must(unix.SYS_CLOSE_RANGE, number(next), number(math.MaxUint32), &zero)
	for i := range c.Dirs {
		var onError *systemCall
		if c.DirRequired && i == len(c.Dirs)-1 {
			onError = fail
		}
		b.chdirs = append(b.chdirs, b.steps.add(onError, unix.SYS_CHDIR, address(unsafe.Pointer(b.dirs[i]))))
	}
	if b.filter.Len > 0 {
		must(unix.SYS_SECCOMP, number(unix.SECCOMP_SET_MODE_FILTER), number(unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW),
			address(unsafe.Pointer(&b.filter)))
	}
	must(unix.SYS_RT_SIGPROCMASK, number(unix.SIG_SETMASK), address(unsafe.Pointer(&b.noSignals)), &zero, number(8))
	b.execute = must(unix.SYS_EXECVE, address(unsafe.Pointer(b.path)), address(unsafe.Pointer(&b.argv[0])), address(unsafe.Pointer(&b.envp[0])))
}

// failure returns what went wrong, after the clone has executed or ended.
func (b *birth) failure() error {
	defer goruntime.KeepAlive(b)
	if err := b.execute.err(); err != nil {
		return err
	}
	for i := range b.steps {
		if err := b.steps[i].err(); err != nil && b.steps[i].onError != nil {
			if b.steps[i].number == unix.SYS_CHDIR {
				return fmt.Errorf("change directory: %w", err)
			}
			return fmt.Errorf("system call %d before execve: %w", b.steps[i].number, err)
		}
	}
	return nil
}

// entered is the last of the directories that the command could enter, as an index, or -1.
func (b *birth) entered() int {
	for i := len(b.chdirs) - 1; i >= 0; i-- {
		if b.chdirs[i].err() == nil {
			return i
		}
	}
	return -1
}

// ownerOfCgroup is what the thread raises while the kernel asks whether it may put a process into a group: to act
// on files as root, who owns the group.
const ownerOfCgroup = 1 << unix.CAP_SETUID

// asOwnerOfCgroup calls f as one who may write to root's files.
func (b *birth) asOwnerOfCgroup(f func() error) error {
	if err := setCapabilities(Capabilities{Effective: b.own.Effective | ownerOfCgroup, Permitted: b.own.Permitted | ownerOfCgroup}); err != nil {
		return err
	}
	gid := unix.Getgid()
	err := SetFSIDs(0, gid)
	if err == nil {
		err = f()
	}
	return firstError(err, SetFSIDs(b.uid, gid), SetEffective(b.own.Effective))
}
