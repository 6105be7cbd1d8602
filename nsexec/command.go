package nsexec

import (
	"fmt"
	"math"
	"os"
	goruntime "runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Command is what StartCommand executes. The caller owns all descriptors in it, also
// after the start.
type Command struct {
	Path string // of the program, in the root directory of the thread
	Args []string
	Env  []string
	// Files become the command's descriptors 0, 1 and 2. Each is the number that it
	// becomes, or above 2.
	Files [3]uintptr
	// Kept are the other descriptors that the command has, at the same numbers, from 3
	// on and in ascending order.
	Kept []int
	// Terminal is a descriptor of the terminal that becomes the command's controlling
	// one; 0: it has none.
	Terminal int
	Limits   []Limit
	// Filter is a seccomp filter that the command is executed under; nil: no other than
	// the thread's.
	Filter []unix.SockFilter
	// Cgroup is the open directory of a control group of version 2, which is root's, in
	// which the command begins; 0: in that of the process.
	Cgroup int
	// UserNamespace is the one that the command enters, as its root; nil: none.
	UserNamespace *UserNamespace
	// Dirs are the directories that the command changes to, one after the other and
	// with its own rights. Those that fail are passed over. Empty: the working
	// directory is the thread's.
	Dirs []string
	// DirRequired: where the change to the last of Dirs fails, the command is not
	// executed.
	DirRequired bool
}

// A Limit is a value of a resource limit (RLIMIT_*).
type Limit struct {
	Resource int
	unix.Rlimit
}

// StartCommand starts the command as the leader of a new session. It is a child of the
// process, with the namespaces, ids, capabilities and seccomp filters of the calling
// thread. Of descriptors from 3 on it has those in Kept and no other. Signals that the
// process handles have their default action, ignored ones stay ignored, none is
// blocked.
//
// Between clone3(2) and execve(2) the child walks a program (see commandProgram), while
// the thread waits as with vfork(2). So the command can have limits, a control group
// and a filter that the thread does not have.
//
// The thread must be locked. Permitted it needs CAP_SETUID where there is a Cgroup,
// which the command does not get, or a UserNamespace. Linux 5.9 is needed
// (close_range(2)).
//
// Where the command could not be executed there is no process. The error is the errno
// of execve(2), or names the step before it that failed. The caller must call Wait and
// then Close of the Process.
func StartCommand(c Command) (*Process, error) {
	b, err := c.program()
	if err != nil {
		return nil, err
	}
	p := &Process{pidfd: -1, namespace: c.UserNamespace}
	// CLONE_CLEAR_SIGHAND is there since Linux 5.5.
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
	if unix.SetNonblock(p.pidfd, true) == nil {
		p.file = os.NewFile(uintptr(p.pidfd), "pidfd")
	}
	return p, nil
}

// firstError returns the first of its arguments that is an error: the one that matters
// most.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// A commandProgram is the program that a command's clone walks until execve(2). It is
// on the heap with all that the steps point to.
type commandProgram struct {
	steps   program
	execute *systemCall
	own     Capabilities // the thread's, of which the command gets the permitted ones
	uid     int          // the thread's

	// What the steps point to.
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

// program makes the program of a command that the calling thread starts.
func (c *Command) program() (*commandProgram, error) {
	b := &commandProgram{limits: c.Limits, uid: unix.Getuid()}
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

// write writes the steps. All that ask the launcher's rights come first, then the
// closing of its descriptors, then what the caller's files can delay.
func (b *commandProgram) write(c *Command) {
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
		// The thread acted on files as root for the clone (see asOwnerOfCgroup). The
		// command takes back the thread's own ids, those for files too, and gives up
		// CAP_SETUID.
		must(unix.SYS_SETRESUID, number(b.uid), number(b.uid), number(b.uid))
		b.own.Permitted &^= ownerOfCgroup
		b.caps = b.own.data()
		must(unix.SYS_CAPSET, address(unsafe.Pointer(&capHeader)), address(unsafe.Pointer(&b.caps)))
	}
	// The steps from chdir(2) on look up paths of the caller's, and a file system of
	// the caller's (FUSE) may never answer. Until execve(2) the clone has copies of all
	// descriptors of the process. Their locks, on the container's record and on the
	// image, would outlive the supervisor, and nobody could tell whose they are. So all
	// descriptors that are not the command's are closed before (close_range(2), since
	// Linux 5.9), also those that other code has left open without close-on-exec.
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

// failure returns the error of the step that failed, after the clone has executed the
// command or ended.
func (b *commandProgram) failure() error {
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

// entered is the index of the last directory that the command could change to, or -1.
func (b *commandProgram) entered() int {
	for i := len(b.chdirs) - 1; i >= 0; i-- {
		if b.chdirs[i].err() == nil {
			return i
		}
	}
	return -1
}

// ownerOfCgroup is the capability that the thread raises for the clone into a control
// group: to act on files as root, who owns the group.
const ownerOfCgroup = 1 << unix.CAP_SETUID

// asOwnerOfCgroup calls f while the calling thread acts on files as root: the kernel
// lets a process be cloned into a control group by a thread that may write to its files
// (CLONE_INTO_CGROUP, since Linux 5.7).
func (b *commandProgram) asOwnerOfCgroup(f func() error) error {
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
