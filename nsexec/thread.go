// Package nsexec runs a command in new Linux namespaces from one locked thread of
// a Go program: no second stage, no re-execution, no cgo. It has the kernel's calls
// about threads and processes: namespaces, ids, capabilities, and how PID 1, the
// command and other children begin and end.
//
// Namespaces, capabilities, seccomp filters and ids belong to a thread, and its
// children inherit them. So a goroutine locks itself to its thread, calls functions of
// this package one after the other, and starts the command at the end. It never unlocks
// the thread: the Go runtime then ends the thread with the goroutine, and no other
// goroutine ever runs on it.
//
// Each function says which thread may call it:
//
//   - "locked": it reads or changes the calling thread alone, so the goroutine must
//     have called runtime.LockOSThread. Where it changes the thread, the goroutine must
//     not unlock it again, unless it changes everything back.
//   - "any thread": it concerns the process, or a child.
//
// A capability that a function needs must be effective on the calling thread, unless
// the function says "permitted": then it raises the capability itself.
//
// The launch's thread calls most of this package, one function after the other; the
// supervisor's thread makes user namespaces, waits, and sends signals; the start and
// the end of the program call what concerns the process as a whole.
//
// The package imports the standard library and golang.org/x/sys/unix, and nothing of
// the project.
package nsexec

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Unshare gives the calling thread new namespaces (CLONE_NEW*). With CLONE_NEWNS the
// thread also gets a root directory, a working directory and a umask of its own. The
// thread itself does not enter a new PID namespace: its next children do, and the first
// of them is PID 1 there (see StartInit).
//
// The thread must be locked, and needs CAP_SYS_ADMIN. ENOSPC: a limit in
// /proc/sys/user allows no more namespaces. See unshare(2).
func Unshare(flags int) error {
	if err := unix.Unshare(flags); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	return nil
}

// SetHostname sets the host name of the UTS namespace that the calling thread is in.
// The thread must be locked and have unshared CLONE_NEWUTS, or the host's name is
// changed. It needs CAP_SYS_ADMIN.
func SetHostname(name string) error {
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("sethostname %s: %w", name, err)
	}
	return nil
}

// Umask sets the file mode creation mask and returns the one before. The mask is the
// process's, until a thread has unshared CLONE_NEWNS or CLONE_FS; from then on the
// thread must be locked, and changes its own.
func Umask(mask int) int { return unix.Umask(mask) }

// SetTimerSlack sets by how many nanoseconds the kernel may wake the calling thread
// later than it asks for; 0: as before. Children and threads that it makes inherit it.
// The thread must be locked.
func SetTimerSlack(ns int) error {
	if ns == 0 {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(ns), 0, 0, 0); err != nil {
		return fmt.Errorf("timer slack of %d ns: %w", ns, err)
	}
	return nil
}

// SetFSIDs sets the ids by which the kernel checks the calling thread's file accesses,
// and which own the files that it makes. A change from another user to 0 raises those
// capabilities for files that the thread is permitted, and a change back lowers them
// (capabilities(7), "Effect of user ID changes on capabilities").
//
// The thread must be locked, and needs CAP_SETUID and CAP_SETGID, unless the ids are
// its real, effective or saved ones. The system calls do not tell errors: SetFSIDs
// reads the ids back, and returns EPERM if they are others.
func SetFSIDs(uid, gid int) error {
	_, _, err := changeFSIDs(uid, gid)
	return err
}

// changeFSIDs is SetFSIDs, and returns the ids before.
func changeFSIDs(uid, gid int) (oldUID, oldGID int, err error) {
	if oldGID, err = unix.SetfsgidRetGid(gid); err != nil {
		return -1, -1, fmt.Errorf("setfsgid %d: %w", gid, err)
	}
	if oldUID, err = unix.SetfsuidRetUid(uid); err != nil {
		return -1, -1, fmt.Errorf("setfsuid %d: %w", uid, err)
	}
	nowUID, _ := unix.SetfsuidRetUid(-1)
	nowGID, _ := unix.SetfsgidRetGid(-1)
	if nowUID != uid || nowGID != gid {
		err = fmt.Errorf("act on files as %d:%d: %w", uid, gid, unix.EPERM)
	}
	return oldUID, oldGID, err
}

// SetIDs gives the calling thread, and no other, a user and a group as real, effective,
// saved and file-system ids, and supplementary groups. (syscall.Setuid would change all
// threads.) A change away from user 0 empties the permitted set, unless
// KeepCapabilities was called.
//
// The thread must be locked, and needs CAP_SETUID and CAP_SETGID. Where there is an
// error, the groups may have been changed already.
func SetIDs(uid, gid uint32, groups []uint32) error {
	var list unsafe.Pointer
	if len(groups) > 0 {
		list = unsafe.Pointer(&groups[0])
	}
	if err := raw(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(list), 0); err != nil {
		return fmt.Errorf("setgroups: %w", err)
	}
	if err := raw(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)); err != nil {
		return fmt.Errorf("setresgid %d: %w", gid, err)
	}
	if err := raw(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); err != nil {
		return fmt.Errorf("setresuid %d: %w", uid, err)
	}
	return nil
}

// LimitBounding drops every capability that is not in keep (bit N is capability N) from
// the calling thread's bounding set, and empties its ambient set. The thread must be
// locked, and needs CAP_SETPCAP.
func LimitBounding(keep uint64) error {
	for c := range 64 {
		if keep&(1<<c) != 0 {
			continue
		}
		err := raw(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uintptr(c), 0)
		if err == unix.EINVAL { // past the last capability that this kernel knows
			break
		}
		if err != nil {
			return fmt.Errorf("drop capability %d from the bounding set: %w", c, err)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clear ambient capabilities: %w", err)
	}
	return nil
}

// SetCapabilities sets the calling thread's permitted and effective sets, and empties
// its inheritable set. The kernel lets no capability be added to the permitted set. The
// thread must be locked; it needs no capability.
func SetCapabilities(permitted, effective uint64) error {
	return setCapabilities(Capabilities{Effective: effective, Permitted: permitted})
}

// KeepCapabilities has the calling thread keep its permitted set when its ids change
// away from 0 (PR_SET_KEEPCAPS). The thread must be locked. The next execve(2) takes
// the setting back.
func KeepCapabilities() error {
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("keep capabilities: %w", err)
	}
	return nil
}

// SetEffective sets the calling thread's effective set, and leaves its permitted and
// inheritable sets as they are. The thread must be locked; all of want must be
// permitted, or the error is EPERM.
func SetEffective(want uint64) error {
	now, err := CurrentCapabilities()
	if err != nil || now.Effective == want {
		return err
	}
	now.Effective = want
	return setCapabilities(now)
}

// CurrentCapabilities returns the capability sets of the calling thread, which must be
// locked, unless all threads have the same. It needs no capability.
func CurrentCapabilities() (Capabilities, error) {
	var data capData
	if err := raw(unix.SYS_CAPGET, uintptr(unsafe.Pointer(&capHeader)), uintptr(unsafe.Pointer(&data[0])), 0); err != nil {
		return Capabilities{}, fmt.Errorf("capget: %w", err)
	}
	join := func(low, high uint32) uint64 { return uint64(low) | uint64(high)<<32 }
	return Capabilities{
		Effective:   join(data[0].Effective, data[1].Effective),
		Permitted:   join(data[0].Permitted, data[1].Permitted),
		Inheritable: join(data[0].Inheritable, data[1].Inheritable),
	}, nil
}

// capHeader says to capset(2) and capget(2) that they are asked about the calling
// thread. They write to it only when they do not know the version.
var capHeader = unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}

// capData is what capset(2) and capget(2) take: the low halves of the sets, then the
// high ones.
type capData [2]unix.CapUserData

func (c Capabilities) data() capData {
	half := func(shift int) unix.CapUserData {
		return unix.CapUserData{Effective: uint32(c.Effective >> shift), Permitted: uint32(c.Permitted >> shift), Inheritable: uint32(c.Inheritable >> shift)}
	}
	return capData{half(0), half(32)}
}

func setCapabilities(c Capabilities) error {
	data := c.data()
	if err := raw(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&capHeader)), uintptr(unsafe.Pointer(&data[0])), 0); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	return nil
}

// NoNewPrivileges has execve(2) grant no privilege any more to the calling thread and
// its descendants: set-user-ID bits and file capabilities are without effect
// (PR_SET_NO_NEW_PRIVS). It cannot be taken back. The thread must be locked; it needs
// no capability.
func NoNewPrivileges() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	return nil
}

// Undumpable clears the dumpable flag of the process's memory: without CAP_SYS_PTRACE
// nobody can look into the process by ptrace(2), /proc/PID/mem or /proc/PID/fd, and it
// leaves no core dump. The kernel sets the flag again at execve(2), and may by
// fs.suid_dumpable at a change of ids. Any thread may call it; it needs no capability.
func Undumpable() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("clear dumpable: %w", err)
	}
	return nil
}

// raw makes a system call without telling the Go scheduler, for calls that do not wait.
// What a pointer among the arguments points to is kept on the heap, since a stack could
// move meanwhile.
//
//go:uintptrescapes
func raw(number, a, b, c uintptr) error { return raw4(number, a, b, c, 0) }

// raw4 is raw with four arguments.
//
//go:uintptrescapes
func raw4(number, a, b, c, d uintptr) error {
	_, _, errno := unix.RawSyscall6(number, a, b, c, d, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
