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

// Init is the first process (PID 1) of a PID namespace. It waits on a line that the
// launcher holds, and ends with it; the kernel then kills every process in the
// namespace.
//
// PID 1 is a clone of the launching thread that shares the launcher's memory and walks
// a program (see program): it executes nothing. (A fork with memory of its own would
// make a page fault of every page that the launcher then writes, and an interrupt for
// the other processors: measured, a tenth of a launch.) It has no descriptor but its
// end of the line, no capability, and by seccomp's strict mode no system call but read,
// write and exit. The container's processes cannot look into the launcher's memory by
// way of it, since the process is not dumpable.
type Init struct {
	pid   int
	line  *line // PID 1 ends when it breaks
	steps program
	mount *systemCall // its result is the descriptor of the procfs
	chose *systemCall // it writes last; without an error process ids begin after that
	names [2][]byte   // last as text, and the name of the file that takes it
	last  int         // the process id before the first that the namespace gives
}

// What PID 1, and a keeper, have the kernel read. Nothing writes to them but the one
// byte, which carries no information.
var (
	slash      = [...]byte{'/', 0}
	procName   = [...]byte{'p', 'r', 'o', 'c', 0}
	initName   = [...]byte{'m', 'a', 'y', 'f', 'l', 'y', '-', 'i', 'n', 'i', 't', 0}
	ignore     = [4]uintptr{1} // struct sigaction of the kernel's, with SIG_IGN
	noCapsFor  = [...]uint32{unix.LINUX_CAPABILITY_VERSION_3, 0}
	noCapsData [6]uint32
	oneByte    [1]byte
)

// lastPID is the file that has the last process id which the kernel gave in the PID
// namespace of the process that reads or writes it. To write takes CAP_SYS_ADMIN or
// CAP_CHECKPOINT_RESTORE in the namespace's owner. The kernel has it by
// CONFIG_CHECKPOINT_RESTORE.
const lastPID = "/proc/sys/kernel/ns_last_pid"

// The id of the first process after PID 1 is chosen at random from firstPID to
// firstPIDLess: the kernel does not give the ids below the one a second time
// (RESERVED_PIDS), and above the other there is still room for a few thousand processes
// up to the lowest usual limit (kernel.pid_max, 32768).
const (
	firstPID     = 300
	firstPIDLess = 30000
)

// StartInit makes PID 1 of the PID namespace that the calling thread has unshared, and
// returns without waiting for it (see Proc). When the calling process ends, in whatever
// way, so does PID 1, and with it the namespace. It also ends after the time atMost,
// whatever becomes of the process; 0: there is no such limit.
//
// The thread must be locked, have unshared CLONE_NEWPID and started no other child
// since; it needs effective: CAP_SYS_ADMIN, CAP_SETUID and CAP_SETGID. The process must
// not be dumpable (see Undumpable). Linux 5.9 is needed (CLOSE_RANGE_UNSHARE).
//
// The caller of StartInit must call Kill, and then Wait, which close what Init holds.
func StartInit(root Root, atMost time.Duration) (*Init, error) {
	line, err := newLine(atMost)
	if err != nil {
		return nil, err
	}
	i := &Init{line: line}
	if err := i.choosePIDs(); err != nil {
		line.close()
		return nil, err
	}
	i.write(root)
	args := line.args()
	args.flags |= unix.CLONE_VM | unix.CLONE_FILES
	args.exitSignal = uint64(unix.SIGCHLD)
	if i.pid, err = i.steps.start(args); i.pid == 0 {
		line.close()
		return nil, fmt.Errorf("clone PID 1: %w", err)
	}
	return i, nil
}

// choosePIDs chooses where the process ids begin. If the command of every container had
// the id 2, then the files that programs name after their id would have the same names
// in all containers, and meet in a home or another bind that the containers share.
func (i *Init) choosePIDs() error {
	var random [2]byte
	if _, err := unix.Getrandom(random[:], 0); err != nil {
		return fmt.Errorf("random number: %w", err)
	}
	i.last = firstPID + int(binary.NativeEndian.Uint16(random[:]))%(firstPIDLess-firstPID)
	i.names = [2][]byte{strconv.AppendInt(nil, int64(i.last), 10), append([]byte(lastPID), 0)}
	return nil
}

// write writes the program of PID 1. Its comments speak of PID 1 as "it".
func (i *Init) write(root Root) {
	i.steps = newProgram(32)
	p := &i.steps
	line, one := number(i.line.child), number(1)

	// Where a step of must fails, PID 1 exits without saying that it is ready.
	fail := p.last(unix.SYS_EXIT, one)
	must := func(nr uintptr, args ...*uintptr) *systemCall { return p.add(fail, nr, args...) }
	try := func(nr uintptr, args ...*uintptr) { p.add(nil, nr, args...) }

	// It becomes root, so that the caller, whose ids the launcher has, can neither stop
	// nor kill it. This comes first: while PID 1 is stopped with the launcher's
	// descriptor table, the locks in it outlive a launcher that is killed.
	uid, gid := number(int(root.UID)), number(int(root.GID))
	must(unix.SYS_SETRESGID, gid, gid, gid)
	must(unix.SYS_SETRESUID, uid, uid, uid)
	try(unix.SYS_PRCTL, number(unix.PR_SET_NAME), address(unsafe.Pointer(&initName)))
	// Orphans of the namespace become its children. As it ignores SIGCHLD, the kernel
	// reaps them.
	must(unix.SYS_RT_SIGACTION, number(int(unix.SIGCHLD)), address(unsafe.Pointer(&ignore)), &zero, number(8))
	try(unix.SYS_SETSID) // the terminal's signals do not reach it
	// It lets go of the working directory: that would hold a file system of the host's
	// in the mount namespace.
	must(unix.SYS_CHDIR, address(unsafe.Pointer(&slash)))

	// It writes where process ids begin. Where the kernel has no such file, they begin
	// at 2.
	file := p.add(nil, unix.SYS_OPENAT, number(unix.AT_FDCWD), address(unsafe.Pointer(&i.names[1][0])), number(unix.O_WRONLY|unix.O_CLOEXEC), &zero)
	i.chose = p.add(nil, unix.SYS_WRITE, &file.result, address(unsafe.Pointer(&i.names[0][0])), number(len(i.names[0])))
	try(unix.SYS_CLOSE, &file.result)

	// It makes a procfs, which shows the PID namespace of the task that makes it. The
	// descriptor table is still the launcher's: so the launcher has the mount.
	fs := must(unix.SYS_FSOPEN, address(unsafe.Pointer(&procName)), number(unix.FSOPEN_CLOEXEC))
	must(unix.SYS_FSCONFIG, &fs.result, number(unix.FSCONFIG_CMD_CREATE))
	i.mount = must(unix.SYS_FSMOUNT, &fs.result, number(unix.FSMOUNT_CLOEXEC),
		number(unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC))
	try(unix.SYS_CLOSE, &fs.result)

	// It gets a descriptor table of its own (CLOSE_RANGE_UNSHARE, since Linux 5.9) and
	// closes everything in it but its end of the line.
	must(unix.SYS_CLOSE_RANGE, number(i.line.child+1), number(math.MaxUint32), number(unix.CLOSE_RANGE_UNSHARE))
	must(unix.SYS_CLOSE_RANGE, &zero, number(i.line.child-1))
	must(unix.SYS_CAPSET, address(unsafe.Pointer(&noCapsFor)), address(unsafe.Pointer(&noCapsData)))
	must(unix.SYS_PRCTL, number(unix.PR_SET_NO_NEW_PRIVS), one)
	try(unix.SYS_PRCTL, number(unix.PR_SET_SECCOMP), number(unix.SECCOMP_MODE_STRICT))

	// It says that it is ready. Then it reads, until the launcher closes its end of the
	// line or dies, or the receive timeout is over, and exits. (PR_SET_PDEATHSIG would
	// not do: the kernel asks whether the dying parent may kill its child, and the
	// launcher may not, as its child is root's.)
	byteAt := address(unsafe.Pointer(&oneByte))
	must(unix.SYS_WRITE, line, byteAt, one)
	try(unix.SYS_READ, line, byteAt, one)
	try(unix.SYS_EXIT, &zero)
}

// Proc waits until PID 1 is ready and returns a detached mount of the procfs of its
// namespace, as a descriptor that the caller owns (mount.TreeFromFD). It must be called
// once, on any thread. The error names the system call of PID 1 that failed.
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

// FirstPID is the id, in the namespace, of the first process after PID 1. It is known
// when Proc has returned.
func (i *Init) FirstPID() int {
	if i.chose.err() != nil {
		return 2
	}
	return i.last + 1
}

// PID is the id of PID 1 in the PID namespace of the calling process.
func (i *Init) PID() int { return i.pid }

// End has PID 1 end, and with it every process of its namespace, and does not wait for
// that. It may be called from any thread after Proc has returned. Kill and Wait must be
// called all the same.
func (i *Init) End() { i.line.hangUp() }

// Kill does what End does, and closes the line. It may be called from any thread, more
// than once, and needs no capability.
func (i *Init) Kill() { i.line.breakOff() }

// Wait waits, after Kill, until every process of the namespace has ended, and reaps
// PID 1. It waits for the time atMost: a process may be in a system call that the
// kernel does not break off; then the error says so, and PID 1 is left to be reaped.
//
// The command is a process of the namespace and a child of the calling process: before
// that has reaped it (Process.Wait), PID 1 does not end. Wait may be called from any
// thread.
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
