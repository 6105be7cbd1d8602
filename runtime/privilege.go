package runtime

import (
	"errors"
	"fmt"
	goruntime "runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/internal/file"
)

// needed are the capabilities that a launch cannot do without.
var needed = []struct {
	bit  int
	name string
	why  string
}{
	{unix.CAP_SYS_ADMIN, "cap_sys_admin", "namespaces, mounts, snapshots"},
	{unix.CAP_SETUID, "cap_setuid", "act on root's files, then as the user"},
	{unix.CAP_SETGID, "cap_setgid", "the same for groups"},
	{unix.CAP_SETPCAP, "cap_setpcap", "empty the bounding set"},
}

// ErrNoPrivilege means that the program was started without its capabilities.
var ErrNoPrivilege = errors.New("runtime has no privilege")

// checkPrivilege says what is missing and how an administrator grants it.
func checkPrivilege() error {
	have, err := nsexec.Capabilities()
	if err != nil {
		return err
	}
	for _, n := range needed {
		if have&(1<<n.bit) == 0 {
			return fmt.Errorf("%w: %s is missing (%s); root grants it with "+
				"`setcap cap_sys_admin,cap_setuid,cap_setgid,cap_setpcap=ep FILE`, on a file system that is not mounted nosuid",
				ErrNoPrivilege, n.name, n.why)
		}
	}
	return nil
}

// minimum is the oldest kernel that has all that a launch uses; BTRFS takes
// ID-mapped mounts from there on.
const minimumMajor, minimumMinor = 5, 15

func checkKernel() error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	release := unix.ByteSliceToString(name.Release[:])
	return kernelAtLeast(release, minimumMajor, minimumMinor)
}

func kernelAtLeast(release string, major, minor int) error {
	first, rest, _ := strings.Cut(release, ".")
	second := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))] // "15" of "15-rc1"
	a, errA := strconv.Atoi(first)
	b, errB := strconv.Atoi(second)
	if errA == nil && errB == nil && (a > major || a == major && b >= minor) {
		return nil
	}
	return fmt.Errorf("this kernel is Linux %s: %d.%d or later is needed", release, major, minor)
}

// dumpableFile is a kernel setting: what a change of a thread's ids does to the
// dumpable flag of its memory (proc_sys_fs(5)).
const dumpableFile = "/proc/sys/fs/suid_dumpable"

// hideMemory closes the process to ptrace(2) of everybody without CAP_SYS_PTRACE: of
// the caller, and of the container, whose PID 1 shares this memory. Under the kernel's
// debugging mode 1 it would be open again with the next change of ids.
func hideMemory() error {
	setting, err := file.Read(dumpableFile, 16)
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(setting)) == "1" {
		return errors.New("fs.suid_dumpable is 1, which opens privileged programs to their callers: set it to 0 or 2 with sysctl")
	}
	return nsexec.Undumpable()
}

// asRoot calls f on a locked thread that acts on files as root, and gives the
// thread back as it was. What f opens it opens with root's rights: no path of the
// caller's belongs in there.
func asRoot(c Caller, f func() error) error {
	goruntime.LockOSThread()
	if err := nsexec.SetFSIDs(0, 0); err != nil {
		goruntime.UnlockOSThread()
		return err
	}
	err := f()
	if restore := nsexec.SetFSIDs(int(c.UID), int(c.GID)); restore != nil {
		return errors.Join(err, restore) // the thread stays locked and is thrown away
	}
	goruntime.UnlockOSThread()
	return err
}

// AsRoot calls f with root's rights on files, for subcommands that read the
// store. It needs the same capabilities as a launch, or to be root.
func AsRoot(f func() error) error {
	caller, err := CurrentCaller()
	if err != nil {
		return err
	}
	return asRoot(caller, f)
}
