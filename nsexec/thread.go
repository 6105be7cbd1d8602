// Package nsexec runs a command in new Linux namespaces from one locked thread of
// a Go program: no second stage, no re-execution, no cgo.
//
// Namespaces, capabilities, seccomp and user ids are properties of a thread, and
// what a thread forks inherits them. So a goroutine locks itself to its thread,
// calls the functions of this package one after the other, and forks the command
// at the end. The thread must never be unlocked: the Go runtime then throws it away
// with the goroutine, and no other goroutine ever runs on it.
package nsexec

import (
	"fmt"
	goruntime "runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Unshare gives the calling thread new namespaces (CLONE_NEW*), and a root and
// working directory of its own where CLONE_NEWNS is among them. A new PID namespace
// is that of the thread's next children, the first of which is its PID 1.
func Unshare(flags int) error {
	if err := unix.Unshare(flags); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	return nil
}

// SetHostname sets the host name of the thread's UTS namespace.
func SetHostname(name string) error {
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("sethostname %s: %w", name, err)
	}
	return nil
}

// Umask sets the file mode creation mask and returns the old one. It belongs to
// the process until the thread has unshared CLONE_NEWNS or CLONE_FS.
func Umask(mask int) int { return unix.Umask(mask) }

// SetFSIDs makes file accesses and new files of the calling thread those of the
// given ids. Going from another user to 0 raises the file capabilities that the
// thread is permitted, going back lowers them (capabilities(7)). It needs
// CAP_SETUID and CAP_SETGID, and tells by reading back, as setfsuid(2) demands.
func SetFSIDs(uid, gid int) error {
	if _, err := unix.SetfsgidRetGid(gid); err != nil {
		return fmt.Errorf("setfsgid %d: %w", gid, err)
	}
	if _, err := unix.SetfsuidRetUid(uid); err != nil {
		return fmt.Errorf("setfsuid %d: %w", uid, err)
	}
	nowUID, _ := unix.SetfsuidRetUid(-1)
	nowGID, _ := unix.SetfsgidRetGid(-1)
	if nowUID != uid || nowGID != gid {
		return fmt.Errorf("act on files as %d:%d: %w", uid, gid, unix.EPERM)
	}
	return nil
}

// ActOnFilesAs gives the calling thread ids for files (see SetFSIDs), and then these effective capabilities.
func ActOnFilesAs(uid, gid int, effective uint64) error {
	if err := SetEffective(1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID); err != nil {
		return err
	}
	if err := SetFSIDs(uid, gid); err != nil {
		return err
	}
	return SetEffective(effective)
}

// FileRights returns a function by which another goroutine gets a thread of its own that acts on files as the calling one
// does: with its ids for files and its effective capabilities. That thread is thrown away with the goroutine.
func FileRights() (adopt func() error, err error) {
	caps, err := CurrentCapabilities()
	if err != nil {
		return nil, err
	}
	uid, _ := unix.SetfsuidRetUid(-1)
	gid, _ := unix.SetfsgidRetGid(-1)
	return func() error {
		goruntime.LockOSThread()
		if now, _ := unix.SetfsuidRetUid(-1); now != uid {
			return ActOnFilesAs(uid, gid, caps.Effective)
		}
		return SetEffective(caps.Effective)
	}, nil
}

// SetIDs makes the calling thread, and no other, the given user and groups, for good: real,
// effective, saved and file-system ids. (syscall.Setuid would change the whole process.)
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

// LimitBounding drops every capability that is not in keep (bit N is capability
// N) from the thread's bounding set, and all from its ambient set. It needs CAP_SETPCAP.
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

// SetCapabilities sets permitted and effective set of the thread, and empties the
// inheritable set. It can only take away.
func SetCapabilities(permitted, effective uint64) error {
	return setCapabilities(Capabilities{Effective: effective, Permitted: permitted})
}

// KeepCapabilities lets the thread's permitted set outlive a change of its ids away from 0,
// until its next execve(2).
func KeepCapabilities() error {
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("keep capabilities: %w", err)
	}
	return nil
}

// SetEffective makes the thread's effective set equal to want, and leaves what it
// is permitted to raise again.
func SetEffective(want uint64) error {
	now, err := CurrentCapabilities()
	if err != nil || now.Effective == want {
		return err
	}
	now.Effective = want
	return setCapabilities(now)
}

// CurrentCapabilities returns the capability sets of the calling thread.
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

// What capset(2) and capget(2) take.
var capHeader = unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}

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

// NoNewPrivileges makes execve(2) grant nothing any more: setuid bits and file
// capabilities are without effect for the thread and all that comes of it.
func NoNewPrivileges() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	return nil
}

// Undumpable closes the process to ptrace(2), /proc/PID/mem, /proc/PID/fd and
// core dumps of everyone without CAP_SYS_PTRACE.
func Undumpable() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("clear dumpable: %w", err)
	}
	return nil
}

// raw makes a system call, without telling the Go scheduler. What a pointer among the
// arguments points to is kept off the stack, which could move meanwhile.
//
//go:uintptrescapes
func raw(number, a, b, c uintptr) error { return raw4(number, a, b, c, 0) }

//go:uintptrescapes
func raw4(number, a, b, c, d uintptr) error {
	_, _, errno := unix.RawSyscall6(number, a, b, c, d, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
