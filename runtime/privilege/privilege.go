// Package privilege knows what this program may do: the capabilities of a grant and
// what each is for, the state in which the program begins, and the two brackets in
// which a thread acts on files as root or as a user.
//
// Every package that acts with other rights than the caller's calls it. It imports
// nothing of the project but nsexec and internal packages that tell facts about the
// process.
package privilege

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/here"
)

// Sets of capabilities for single steps, as bits: bit N is capability N.
const (
	None     uint64 = 0
	SysAdmin uint64 = 1 << unix.CAP_SYS_ADMIN
	SetIDs   uint64 = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	SetPCap  uint64 = 1 << unix.CAP_SETPCAP

	// LaunchCapabilities are all that a launch uses.
	LaunchCapabilities = SysAdmin | SetIDs | SetPCap

	// OverlayCapabilities are used besides where the store is not on BTRFS. The kernel
	// acts in an overlay with the rights of the process that mounted it, and this
	// program has to remove what users have made there.
	OverlayCapabilities uint64 = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID
)

// NetworkCapabilities are used besides where the policy lets containers have a network
// that leads outside.
const NetworkCapabilities uint64 = 1 << unix.CAP_NET_ADMIN

// GrantCapabilities are all that a grant can give.
const GrantCapabilities = LaunchCapabilities | OverlayCapabilities | NetworkCapabilities

// A Requirement is a capability and what it is for.
type Requirement struct {
	Bit       int
	Name, Why string
}

// LaunchRequirements are the capabilities that every launch needs.
var LaunchRequirements = []Requirement{
	{unix.CAP_SYS_ADMIN, "cap_sys_admin", "make namespaces, mounts and snapshots"},
	{unix.CAP_SETUID, "cap_setuid", "act on root's files, and on nobody else's"},
	{unix.CAP_SETGID, "cap_setgid", "the same for root's group, so that what is made in a container is root's"},
	{unix.CAP_SETPCAP, "cap_setpcap", "empty the bounding set, so that nothing inside can be given a capability"},
}

// OverlayRequirements are those that a store without BTRFS needs besides.
var OverlayRequirements = []Requirement{
	{unix.CAP_CHOWN, "cap_chown", "give files in an overlay their owners"},
	{unix.CAP_DAC_OVERRIDE, "cap_dac_override", "reach what is not root's in an overlay, and remove it"},
	{unix.CAP_FOWNER, "cap_fowner", "the same where only an owner may"},
	{unix.CAP_FSETID, "cap_fsetid", "keep the modes of copied files"},
}

// NetworkRequirements are those that a private network needs besides.
var NetworkRequirements = []Requirement{{unix.CAP_NET_ADMIN, "cap_net_admin", "connect containers with the network"}}

// ErrNoPrivilege means that the program was started without capabilities that it needs.
var ErrNoPrivilege = errors.New("runtime has no privilege")

// ErrNoSUID means that a program is on a file system that is mounted nosuid.
var ErrNoSUID = here.ErrNoSUID

// Settle brings the process into the state that all other code relies on, whatever the
// grant is: every id is the caller's real one; of the permitted capabilities those of a
// grant stay; none is effective; the memory is not dumpable. Root keeps all ids and
// capabilities. It is called before anything of the caller's is looked at, on any
// thread; it acts on the whole process.
func Settle(h here.Here) error {
	if h.Rootless() {
		return settle(GrantCapabilities | rootlessCapability)
	}
	return settle(GrantCapabilities)
}

// ownCapability is what a rootless program needs besides, to make another user
// namespace with the same ids.
const rootlessCapability uint64 = 1 << unix.CAP_SETFCAP

// Renounce gives up every capability and every id but the caller's, for what needs
// none. Root keeps all.
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
	return nsexec.Undumpable() // the change of ids may have set the flag again
}

// Missing returns the requirements whose capability is not permitted to the thread.
func Missing(needs []Requirement) ([]Requirement, error) {
	have, err := nsexec.CurrentCapabilities()
	if err != nil {
		return nil, err
	}
	var list []Requirement
	for _, n := range needs {
		if have.Permitted&(1<<n.Bit) == 0 {
			list = append(list, n)
		}
	}
	return list, nil
}

// Check returns an error that wraps ErrNoPrivilege if a capability of
// LaunchRequirements is missing. It tells why a grant has no effect, or how an
// administrator gives one.
func Check() error {
	list, err := Missing(LaunchRequirements)
	if err != nil {
		return err
	}
	if len(list) == len(LaunchRequirements) {
		if why := here.GrantIgnored(); why != nil {
			return fmt.Errorf("%w: %w; %s is missing (to %s)", ErrNoPrivilege, why, list[0].Name, list[0].Why)
		}
	}
	return Require(LaunchRequirements, "; root grants it with `runtime grant`, `runtime grant --check` tells what is wrong")
}

// Require returns an error that wraps ErrNoPrivilege and ends with advice, if one of
// the requirements is missing.
func Require(needs []Requirement, advice string) error {
	list, err := Missing(needs)
	if err != nil || list == nil {
		return err
	}
	return fmt.Errorf("%w: %s is missing (to %s)%s", ErrNoPrivilege, list[0].Name, list[0].Why, advice)
}

// KeepOnly gives up permitted capabilities other than these, for grants that gave more.
// It acts on the whole process, but not on root's or in a rootless program.
func KeepOnly(h here.Here, needed uint64) error {
	have, err := nsexec.CurrentCapabilities()
	if err != nil || os.Getuid() == 0 || h.Rootless() || have.Permitted&^needed == 0 {
		return err
	}
	return nsexec.SettleProcess(os.Getuid(), os.Getgid(), nil, needed)
}

// CheckNetwork returns an error if a capability for a private network is missing.
func CheckNetwork() error {
	return Require(NetworkRequirements, ": root grants it with `runtime grant`, where the policy lets somebody have a private network")
}
