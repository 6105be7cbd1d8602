package nsexec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	goruntime "runtime"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Init is the first process (PID 1) of a PID namespace: an almost empty child of
// the launching thread, which lives as long as the process holds a line to it and makes
// the kernel kill everything in the namespace when it goes.
//
// It was never executed and has no memory of its own: it is a clone that shares
// the launcher's, and walks a list of system calls. (A fork with memory of its
// own would make every page that the launcher then writes a fault, and an IPI to the
// other processors: measured, a tenth of a launch.) It holds no descriptor of the
// launcher's and no capability, and by seccomp's strict mode can do nothing but
// read, write and exit; the memory is closed to the container by the dumpable flag.
type Init struct {
	pid   int
	line  *line // PID 1 ends when it breaks
	steps program
	mount *systemCall // whose result is the procfs
	chose *systemCall // whose result tells that the numbers of processes begin at last
	names [2][]byte   // what it writes, and where to
	last  int         // the number before that of the next process
}

// What PID 1 hands to the kernel.
var (
	slash      = [...]byte{'/', 0}
	procName   = [...]byte{'p', 'r', 'o', 'c', 0}
	initName   = [...]byte{'m', 'a', 'y', 'f', 'l', 'y', '-', 'i', 'n', 'i', 't', 0}
	ignore     = [4]uintptr{1} // struct sigaction with SIG_IGN
	noCapsFor  = [...]uint32{unix.LINUX_CAPABILITY_VERSION_3, 0}
	noCapsData [6]uint32
	oneByte    [1]byte
)

// lastPID is where the kernel has the number of the last process of the PID namespace
// of the process that writes to it. It takes CAP_SYS_ADMIN, or CAP_CHECKPOINT_RESTORE,
// there, and a kernel with CONFIG_CHECKPOINT_RESTORE.
const lastPID = "/proc/sys/kernel/ns_last_pid"

// Numbers of the first processes after PID 1 are chosen between these: above those that
// the kernel does not give again (RESERVED_PIDS), and so that a few thousand more are
// below the least usual limit (pid_max, 32768).
const (
	firstPID     = 300
	firstPIDLess = 30000
)

// StartInit makes PID 1 of the PID namespace that the calling thread has
// unshared, and returns without waiting for it. When the process ends, in whatever way,
// so does PID 1, and with it the namespace; at the latest after a time (0: no such limit),
// whatever becomes of the process. The process must not be dumpable (see Undumpable); the
// thread needs CAP_SYS_ADMIN, CAP_SETUID and CAP_SETGID. The holder must call Kill and Wait.
func StartInit(atMost time.Duration) (*Init, error) {
	line, err := newLine(atMost)
	if err != nil {
		return nil, err
	}
	i := &Init{line: line}
	if err := i.choosePIDs(); err != nil {
		line.close()
		return nil, err
	}
	i.write()
	args := line.args()
	args.flags |= unix.CLONE_VM | unix.CLONE_FILES
	args.exitSignal = uint64(unix.SIGCHLD)
	if i.pid, err = i.steps.start(args); i.pid == 0 {
		line.close()
		return nil, fmt.Errorf("clone PID 1: %w", err)
	}
	return i, nil
}

// choosePIDs chooses the number before that of the next process. If every container's
// command had the number 2, so would the files that programs name after themselves, in
// a home or another bind that containers share.
func (i *Init) choosePIDs() error {
	var random [2]byte
	if _, err := unix.Getrandom(random[:], 0); err != nil {
		return fmt.Errorf("random number: %w", err)
	}
	i.last = firstPID + int(binary.NativeEndian.Uint16(random[:]))%(firstPIDLess-firstPID)
	i.names = [2][]byte{strconv.AppendInt(nil, int64(i.last), 10), append([]byte(lastPID), 0)}
	return nil
}

// write writes the program of PID 1: its life as system calls.
func (i *Init) write() {
	i.steps = newProgram(32)
	p := &i.steps
	line, one := number(i.line.child), number(1)

	// A step that may not fail goes to this exit, and never says that it is ready.
	fail := p.last(unix.SYS_EXIT, one)
	must := func(nr uintptr, args ...*uintptr) *systemCall { return p.add(fail, nr, args...) }
	try := func(nr uintptr, args ...*uintptr) { p.add(nil, nr, args...) }

	// To the caller, whose real id the launcher has, PID 1 is somebody else's: they can
	// neither stop nor kill it. First of all, for as long as it has the launcher's
	// descriptors it would keep locks on them when the launcher is killed.
	must(unix.SYS_SETRESGID, &root.gid, &root.gid, &root.gid)
	must(unix.SYS_SETRESUID, &root.uid, &root.uid, &root.uid)
	try(unix.SYS_PRCTL, number(unix.PR_SET_NAME), address(unsafe.Pointer(&initName)))
	// Orphans become our children; an ignored SIGCHLD lets the kernel reap them.
	must(unix.SYS_RT_SIGACTION, number(int(unix.SIGCHLD)), address(unsafe.Pointer(&ignore)), &zero, number(8))
	try(unix.SYS_SETSID) // no keyboard signals
	// A working directory elsewhere would keep the host's file system past pivot_root.
	must(unix.SYS_CHDIR, address(unsafe.Pointer(&slash)))

	// The numbers of processes begin there, where the kernel lets us say so.
	file := p.add(nil, unix.SYS_OPENAT, number(unix.AT_FDCWD), address(unsafe.Pointer(&i.names[1][0])), number(unix.O_WRONLY|unix.O_CLOEXEC), &zero)
	i.chose = p.add(nil, unix.SYS_WRITE, &file.result, address(unsafe.Pointer(&i.names[0][0])), number(len(i.names[0])))
	try(unix.SYS_CLOSE, &file.result)

	// procfs shows the PID namespace of the task that makes it. The descriptor table
	// is still the launcher's, so it is the launcher who gets the mount.
	fs := must(unix.SYS_FSOPEN, address(unsafe.Pointer(&procName)), number(unix.FSOPEN_CLOEXEC))
	must(unix.SYS_FSCONFIG, &fs.result, number(unix.FSCONFIG_CMD_CREATE))
	i.mount = must(unix.SYS_FSMOUNT, &fs.result, number(unix.FSMOUNT_CLOEXEC),
		number(unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC))
	try(unix.SYS_CLOSE, &fs.result)

	// From here on the table is our own, with nothing in it but the line
	// (CLOSE_RANGE_UNSHARE, since Linux 5.9).
	must(unix.SYS_CLOSE_RANGE, number(i.line.child+1), number(math.MaxUint32), number(unix.CLOSE_RANGE_UNSHARE))
	must(unix.SYS_CLOSE_RANGE, &zero, number(i.line.child-1))
	must(unix.SYS_CAPSET, address(unsafe.Pointer(&noCapsFor)), address(unsafe.Pointer(&noCapsData)))
	must(unix.SYS_PRCTL, number(unix.PR_SET_NO_NEW_PRIVS), one)
	try(unix.SYS_PRCTL, number(unix.PR_SET_SECCOMP), number(unix.SECCOMP_MODE_STRICT))

	// Say that we are ready. Then read until the line is closed, by the launcher or with
	// it, or until the time is over. (PR_SET_PDEATHSIG would be of no use: the kernel asks
	// whether the parent, as it dies, may kill its child.)
	byteAt := address(unsafe.Pointer(&oneByte))
	must(unix.SYS_WRITE, line, byteAt, one)
	try(unix.SYS_READ, line, byteAt, one)
	try(unix.SYS_EXIT, &zero)
}

// Proc waits until PID 1 is ready and returns a detached mount of the procfs of
// its namespace, as a descriptor that the caller owns. Call it once.
func (i *Init) Proc() (int, error) {
	ready, err := i.line.ready()
	i.line.forget()
	if ready {
		return int(i.mount.result), nil
	}
	for k := range i.steps {
		if e := i.steps[k].err(); e != nil && i.steps[k].onError != nil {
			return -1, fmt.Errorf("PID 1: system call %d: %w", i.steps[k].number, e)
		}
	}
	if err != nil {
		return -1, fmt.Errorf("wait for PID 1 to be ready: %w", err)
	}
	return -1, errors.New("PID 1 was killed before it was ready")
}

// FirstPID is the number of the first process after PID 1 in its namespace. It is known
// when Proc has returned.
func (i *Init) FirstPID() int {
	if i.chose.err() != nil {
		return 2
	}
	return i.last + 1
}

// PID is the process's number in the PID namespace of the calling thread.
func (i *Init) PID() int { return i.pid }

// End tells PID 1 to end, and with it every process of its namespace. Kill must be
// called all the same. It may be called from any thread after Proc has returned.
func (i *Init) End() { i.line.hangUp() }

// Kill ends PID 1, and with it every process of its namespace, by ending the line. It does
// not wait.
func (i *Init) Kill() { i.line.breakOff() }

// Wait waits, after Kill, until every process of the namespace has ended, for a time at
// most: one may be in a system call that the kernel does not break off. A process of
// the namespace that is the caller's own child must have been waited for, or be waited
// for by another thread: PID 1 does not end before.
func (i *Init) Wait(atMost time.Duration) error {
	defer i.line.close()
	err := exits(int(i.line.pidfd), atMost)
	if err == unix.ETIMEDOUT {
		return fmt.Errorf("processes of the container have been killed and have not ended within %s", atMost)
	}
	if err == nil {
		_, err = wait(i.pid)
	}
	goruntime.KeepAlive(i)
	if err != nil {
		return fmt.Errorf("wait for PID 1: %w", err)
	}
	return nil
}
