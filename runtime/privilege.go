package runtime

import (
	"errors"
	"fmt"
	goruntime "runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/image"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/internal/realm"
)

// Sets of capabilities that single steps raise.
const (
	noCapability uint64 = 0
	capSysAdmin  uint64 = 1 << unix.CAP_SYS_ADMIN
	capSetIDs    uint64 = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	capSetPCap   uint64 = 1 << unix.CAP_SETPCAP

	// LaunchCapabilities are all that a launch uses, as bits.
	LaunchCapabilities = capSysAdmin | capSetIDs | capSetPCap

	// OverlayCapabilities are what it uses besides where the store is not on BTRFS: the kernel does what
	// happens in an overlay with the rights of whoever mounted it, and it is for us to remove what users made there.
	OverlayCapabilities uint64 = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID
)

// NetworkCapabilities are what it uses besides where the policy lets containers have networks that lead outside.
const NetworkCapabilities uint64 = 1 << unix.CAP_NET_ADMIN

// GrantCapabilities are all that a grant can give.
const GrantCapabilities = LaunchCapabilities | OverlayCapabilities | NetworkCapabilities

// A Need is a capability, and what it is for.
type Need struct {
	Bit       int
	Name, Why string
}

// NeededCapabilities are those that a launch cannot do without.
var NeededCapabilities = []Need{
	{unix.CAP_SYS_ADMIN, "cap_sys_admin", "make namespaces, mounts and snapshots"},
	{unix.CAP_SETUID, "cap_setuid", "act on root's files, and on nobody else's"},
	{unix.CAP_SETGID, "cap_setgid", "the same for root's group, so that what is made in a container is root's"},
	{unix.CAP_SETPCAP, "cap_setpcap", "empty the bounding set, so that nothing inside can be given a capability"},
}

// OverlayNeeds are those that a store without BTRFS takes besides.
var OverlayNeeds = []Need{
	{unix.CAP_CHOWN, "cap_chown", "give files in an overlay their owners"},
	{unix.CAP_DAC_OVERRIDE, "cap_dac_override", "reach what is not root's in an overlay, and remove it"},
	{unix.CAP_FOWNER, "cap_fowner", "the same where only an owner may"},
	{unix.CAP_FSETID, "cap_fsetid", "keep the modes of copied files"},
}

// NetworkNeeds are those that a private network takes besides.
var NetworkNeeds = []Need{{unix.CAP_NET_ADMIN, "cap_net_admin", "connect containers with the network"}}

// ErrNoPrivilege means that the program was started without its capabilities.
var ErrNoPrivilege = errors.New("runtime has no privilege")

// ErrNoSUID means that a program is on a file system that is mounted nosuid.
var ErrNoSUID = realm.ErrNoSUID

// Settle brings a start by any grant to one state, which the rest relies on: every id is
// the caller's real one, the capabilities of a launch are permitted, none is
// effective, and the memory is closed to the caller. Of root, who may do everything
// already, it takes nothing. It is called first, before anything of the caller's is looked at.
func Settle() error {
	if realm.Own() {
		return settle(GrantCapabilities | ownCapability)
	}
	return settle(GrantCapabilities)
}

// ownCapability is what it takes besides, in a user namespace, to make another one with the same ids.
const ownCapability uint64 = 1 << unix.CAP_SETFCAP

// Renounce gives up every capability and every id but the caller's, for what needs none.
// Of root it takes nothing.
func Renounce() error { return settle(0) }

func settle(keep uint64) error {
	now, err := nsexec.CurrentCredentials()
	if err != nil {
		return err
	}
	if err := nsexec.Undumpable(); err != nil {
		return err
	}
	if now.UID.Real == 0 {
		return nil
	}
	want := nsexec.Capabilities{Permitted: now.Permitted & keep}
	if now.UID.Settled() && now.GID.Settled() && now.Capabilities == want {
		return nil
	}
	if err := nsexec.SettleProcess(now.UID.Real, now.GID.Real, nil, keep); err != nil {
		return err
	}
	return nsexec.Undumpable() // a change of ids may have set it again
}

// missing are those of the needs that the thread is not permitted.
func missing(needs []Need) ([]Need, error) {
	have, err := nsexec.CurrentCapabilities()
	if err != nil {
		return nil, err
	}
	var list []Need
	for _, n := range needs {
		if have.Permitted&(1<<n.Bit) == 0 {
			list = append(list, n)
		}
	}
	return list, nil
}

// checkPrivilege says what is missing and how an administrator grants it.
func checkPrivilege() error {
	list, err := missing(NeededCapabilities)
	if err != nil {
		return err
	}
	if len(list) == len(NeededCapabilities) {
		if why := realm.GrantIgnored(); why != nil {
			return fmt.Errorf("%w: %w; %s is missing (to %s)", ErrNoPrivilege, why, list[0].Name, list[0].Why)
		}
	}
	return require(NeededCapabilities, "; root grants it with `runtime grant`, `runtime grant --check` tells what is wrong")
}

// require refuses where one of the needs is missing, and ends with what to do.
func require(needs []Need, advice string) error {
	list, err := missing(needs)
	if err != nil || list == nil {
		return err
	}
	return fmt.Errorf("%w: %s is missing (to %s)%s", ErrNoPrivilege, list[0].Name, list[0].Why, advice)
}

// CheckStore says what is missing for a store that is not on BTRFS.
func CheckStore(store *image.Store) error {
	if store.BTRFS {
		return nil
	}
	return require(OverlayNeeds, ": the image store "+store.Path+" is not on BTRFS; root grants it with `runtime grant`")
}

// renounceMore gives up what this launch does not take, for grants that came with more.
func renounceMore(c Caller, needed uint64) error {
	have, err := nsexec.CurrentCapabilities()
	if err != nil || c.UID == 0 || realm.Own() || have.Permitted&^needed == 0 {
		return err
	}
	return nsexec.SettleProcess(int(c.UID), int(c.GID), nil, needed)
}

// checkNetwork says what is missing for a private network.
func checkNetwork() error {
	return require(NetworkNeeds, ": root grants it with `runtime grant`, where the policy lets somebody have a private network")
}

// rootNeeds are the capabilities to make and remove a copy in a store.
func rootNeeds(store *image.Store) uint64 {
	if store.BTRFS {
		return capSysAdmin
	}
	return capSysAdmin | OverlayCapabilities
}

// CanLaunch tells what stands in the way of a launch before any image is looked at.
func CanLaunch() error {
	return errors.Join(checkKernel(), checkPrivilege(), hideMemory())
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

// asRoot calls f on a locked thread that acts on files as root, with the given
// capabilities raised, and gives the thread back as it was. What f opens it opens with
// root's rights: no path of the caller's belongs in there.
func asRoot(c Caller, raise uint64, f func() error) error {
	goruntime.LockOSThread()
	before, err := nsexec.CurrentCapabilities()
	if err == nil {
		if realm.Own() {
			raise |= OverlayCapabilities // the way to the caller's directory is the caller's
		}
		err = nsexec.ActOnFilesAsRoot(raise)
	}
	if err == nil {
		err = f()
	}
	// If this fails the thread stays locked, and is thrown away with its goroutine.
	if restore := nsexec.ActOnFilesAs(int(c.UID), int(c.GID), before.Effective); restore != nil {
		return errors.Join(err, restore)
	}
	goruntime.UnlockOSThread()
	return err
}

// raise calls f on a locked thread with these capabilities effective too.
func raise(capabilities uint64, f func() error) error {
	goruntime.LockOSThread()
	before, err := nsexec.CurrentCapabilities()
	if err == nil {
		err = nsexec.SetEffective(before.Effective | capabilities)
	}
	if err == nil {
		err = f()
	}
	if lower := nsexec.SetEffective(before.Effective); lower != nil {
		return errors.Join(err, lower) // the thread stays locked and is thrown away
	}
	goruntime.UnlockOSThread()
	return err
}

// AsRoot calls f with root's rights on files, for subcommands that look at the
// store or collect what is left in it. It needs the same capabilities as a launch, or
// to be root.
func AsRoot(f func() error) error {
	caller, err := CurrentCaller()
	if err != nil {
		return err
	}
	if err := checkPrivilege(); err != nil {
		return err
	}
	have, err := nsexec.CurrentCapabilities()
	if err != nil {
		return err
	}
	return asRoot(caller, capSysAdmin|(OverlayCapabilities|NetworkCapabilities)&have.Permitted, f)
}
