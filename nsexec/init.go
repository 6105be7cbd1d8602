package nsexec

import (
	"encoding/binary"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Init is the first process (PID 1) of a PID namespace: an almost empty child of
// the launching thread, which lives as long as that thread and makes the kernel
// kill everything in the namespace when it goes.
//
// It was never executed: it is the launcher's own program after a bare clone(2),
// in a function that makes only system calls. It holds no descriptor of the
// launcher's, no capability, and by seccomp's strict mode can do nothing but
// read, write and exit.
type Init struct {
	pid   int
	line  int // our end of the socket pair: PID 1 ends when it closes
	child int // PID 1's end, ours too until it has its own descriptor table
}

// StartInit makes PID 1 of the PID namespace that the calling thread has
// unshared, and returns without waiting for it. The goroutine must be locked to
// its thread: when the thread ends, so does PID 1, and with it the namespace.
// The holder must call Stop.
func StartInit() (*Init, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	pid, errno := forkInit(uintptr(pair[1]), uintptr(unix.Getuid()), uintptr(unix.Getgid()))
	if errno != 0 {
		unix.Close(pair[0])
		unix.Close(pair[1])
		return nil, fmt.Errorf("clone PID 1: %w", errno)
	}
	return &Init{pid: pid, line: pair[0], child: pair[1]}, nil
}

// initSteps names what PID 1 does, for the message when it could not.
var initSteps = [...]string{"", "chdir", "fsopen proc", "create proc", "fsmount proc", "close_range", "capset", "prctl"}

// Proc waits until PID 1 is ready and returns a detached mount of the procfs of
// its namespace, as a descriptor that the caller owns. procfs shows the PID
// namespace of the task that made it, which is why PID 1 makes it. Call it once.
func (i *Init) Proc() (int, error) {
	var report [16]byte
	n, err := readFull(i.line, report[:])
	unix.Close(i.child)
	i.child = -1
	if err != nil || n < len(report) {
		return -1, fmt.Errorf("PID 1 ended before it was ready (%d bytes, %v)", n, err)
	}
	step := binary.NativeEndian.Uint64(report[:8])
	value := int64(binary.NativeEndian.Uint64(report[8:]))
	if value < 0 {
		return -1, fmt.Errorf("PID 1: %s: %w", initSteps[step], syscall.Errno(-value))
	}
	return int(value), nil
}

func readFull(fd int, b []byte) (int, error) {
	total := 0
	for total < len(b) {
		n, err := unix.Read(fd, b[total:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return total, err
		}
		total += n
	}
	return total, nil
}

// Stop kills PID 1 and waits until the kernel has ended every process of its
// namespace. A process of the namespace that is the caller's own child must have
// been waited for, or be waited for by another thread, or Stop does not return.
func (i *Init) Stop() error {
	if i.child >= 0 {
		unix.Close(i.child)
	}
	unix.Close(i.line)
	if err := unix.Kill(i.pid, unix.SIGKILL); err != nil {
		return fmt.Errorf("kill PID 1: %w", err)
	}
	if _, err := wait(i.pid); err != nil {
		return fmt.Errorf("wait for PID 1: %w", err)
	}
	return nil
}

// What PID 1 hands to the kernel must not be made in the child: nothing there may
// allocate.
var (
	slash      = [...]byte{'/', 0}
	procName   = [...]byte{'p', 'r', 'o', 'c', 0}
	initName   = [...]byte{'m', 'a', 'y', 'f', 'l', 'y', '-', 'i', 'n', 'i', 't', 0}
	ignore     = [4]uintptr{1} // struct sigaction with SIG_IGN
	noCapsFor  = [...]uint32{unix.LINUX_CAPABILITY_VERSION_3, 0}
	noCapsData [6]uint32
)

// forkInit clones the calling thread. The child shares the descriptor table at
// first, so that the parent gets the descriptor of the procfs it makes, and then
// takes a table of its own with nothing in it but line.
//
// Between clone and exit the child may not call anything that could grow the
// stack, allocate, or wait for another thread: there is none.
//
//go:norace
//go:nosplit
//go:noinline
func forkInit(line, uid, gid uintptr) (int, syscall.Errno) {
	var (
		report [2]int64
		fs     uintptr
		proc   uintptr
		errno  syscall.Errno
	)
	runtimeBeforeFork()
	pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(unix.CLONE_FILES|unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		runtimeAfterFork()
		return int(pid), errno
	}
	runtimeAfterForkInChild()

	// Orphans become our children; ignored SIGCHLD lets the kernel reap them.
	syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD), uintptr(unsafe.Pointer(&ignore)), 0, 8, 0, 0)
	syscall.RawSyscall(unix.SYS_SETSID, 0, 0, 0) // no keyboard signals
	syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_NAME, uintptr(unsafe.Pointer(&initName)), 0, 0, 0, 0)

	// A working directory elsewhere would keep the host's file system alive past pivot_root.
	report[0] = 1
	_, _, errno = syscall.RawSyscall(unix.SYS_CHDIR, uintptr(unsafe.Pointer(&slash)), 0, 0)
	if errno != 0 {
		goto failed
	}
	report[0] = 2
	fs, _, errno = syscall.RawSyscall(unix.SYS_FSOPEN, uintptr(unsafe.Pointer(&procName)), unix.FSOPEN_CLOEXEC, 0)
	if errno != 0 {
		goto failed
	}
	report[0] = 3
	_, _, errno = syscall.RawSyscall6(unix.SYS_FSCONFIG, fs, unix.FSCONFIG_CMD_CREATE, 0, 0, 0, 0)
	if errno != 0 {
		goto failed
	}
	report[0] = 4
	proc, _, errno = syscall.RawSyscall(unix.SYS_FSMOUNT, fs, unix.FSMOUNT_CLOEXEC,
		unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if errno != 0 {
		goto failed
	}
	syscall.RawSyscall(unix.SYS_CLOSE, fs, 0, 0) // in the parent's table too
	report[1] = int64(proc)

	// From here on the table is our own. CLOSE_RANGE_UNSHARE, since Linux 5.9.
	report[0] = 5
	_, _, errno = syscall.RawSyscall(unix.SYS_CLOSE_RANGE, line+1, ^uintptr(0)>>32, unix.CLOSE_RANGE_UNSHARE)
	if errno != 0 {
		goto failed
	}
	syscall.RawSyscall(unix.SYS_CLOSE_RANGE, 0, line-1, 0)

	// The launcher acts on files as root; PID 1 does not act on files.
	syscall.RawSyscall(unix.SYS_SETFSGID, gid, 0, 0)
	syscall.RawSyscall(unix.SYS_SETFSUID, uid, 0, 0)

	// Capabilities first: giving them up would clear the parent-death signal.
	report[0] = 6
	_, _, errno = syscall.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&noCapsFor)), uintptr(unsafe.Pointer(&noCapsData)), 0)
	if errno != 0 {
		goto failed
	}
	report[0] = 7
	_, _, errno = syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0, 0)
	if errno != 0 {
		goto failed
	}
	syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0)
	syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_STRICT, 0, 0, 0, 0)

	syscall.RawSyscall(unix.SYS_WRITE, line, uintptr(unsafe.Pointer(&report)), unsafe.Sizeof(report))
	for {
		// The parent may have died before the death signal was set: then the line
		// is closed, and this read returns.
		_, _, errno = syscall.RawSyscall(unix.SYS_READ, line, uintptr(unsafe.Pointer(&report)), 1)
		if errno != unix.EINTR {
			syscall.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
		}
	}
failed:
	report[1] = -int64(errno)
	syscall.RawSyscall(unix.SYS_WRITE, line, uintptr(unsafe.Pointer(&report)), unsafe.Sizeof(report))
	for {
		syscall.RawSyscall(unix.SYS_EXIT, 1, 0, 0)
	}
}
