// Package privilege is about what this program may do: the capabilities of a grant and what each is
// for, the state that the program begins in, and the two brackets in which a thread acts on files as
// root or as a user.
//
// Every room that acts with other rights than the caller's calls it. It imports nothing of the project
// but nsexec and what tells where the program is.
package privilege

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/here"
)

// Sets of capabilities that single steps raise.
const (
	None     uint64 = 0
	SysAdmin uint64 = 1 << unix.CAP_SYS_ADMIN
	SetIDs   uint64 = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	SetPCap  uint64 = 1 << unix.CAP_SETPCAP

	// LaunchCapabilities are all that a launch uses, as bits.
	LaunchCapabilities = SysAdmin | SetIDs | SetPCap

	// OverlayCapabilities are what it uses besides where the store is not on BTRFS: the kernel does what
	// happens in an overlay with the rights of whoever mounted it, and it is for us to remove what users made there.
	OverlayCapabilities uint64 = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID
)

// NetworkCapabilities are what it uses besides where the policy lets containers have networks that lead outside.
const NetworkCapabilities uint64 = 1 << unix.CAP_NET_ADMIN

// GrantCapabilities are all that a grant can give.
const GrantCapabilities = LaunchCapabilities | OverlayCapabilities | NetworkCapabilities

// A Requirement is a capability, and what it is for.
type Requirement struct {
	Bit       int
	Name, Why string
}

// LaunchRequirements are those that a launch cannot do without.
var LaunchRequirements = []Requirement{
	{unix.CAP_SYS_ADMIN, "cap_sys_admin", "make namespaces, mounts and snapshots"},
	{unix.CAP_SETUID, "cap_setuid", "act on root's files, and on nobody else's"},
	{unix.CAP_SETGID, "cap_setgid", "the same for root's group, so that what is made in a container is root's"},
	{unix.CAP_SETPCAP, "cap_setpcap", "empty the bounding set, so that nothing inside can be given a capability"},
}

// OverlayRequirements are those that a store without BTRFS takes besides.
var OverlayRequirements = []Requirement{
	{unix.CAP_CHOWN, "cap_chown", "give files in an overlay their owners"},
	{unix.CAP_DAC_OVERRIDE, "cap_dac_override", "reach what is not root's in an overlay, and remove it"},
	{unix.CAP_FOWNER, "cap_fowner", "the same where only an owner may"},
	{unix.CAP_FSETID, "cap_fsetid", "keep the modes of copied files"},
}

// NetworkRequirements are those that a private network takes besides.
var NetworkRequirements = []Requirement{{unix.CAP_NET_ADMIN, "cap_net_admin", "connect containers with the network"}}

// ErrNoPrivilege means that the program was started without its capabilities.
var ErrNoPrivilege = errors.New("runtime has no privilege")

// ErrNoSUID means that a program is on a file system that is mounted nosuid.
var ErrNoSUID = here.ErrNoSUID

// Settle brings a start by any grant to one state, which the rest relies on: every id is
// the caller's real one, the capabilities of a launch are permitted, none is
// effective, and the memory is closed to the caller. Of root, who may do everything
// already, it takes nothing. It is called first, before anything of the caller's is looked at.
func Settle(h here.Here) error {
	if h.Rootless() {
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

// Missing are those of the needs that the thread is not permitted.
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

// Check says what is missing and how an administrator grants it.
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

// Require refuses where one of the needs is missing, and ends with what to do.
func Require(needs []Requirement, advice string) error {
	list, err := Missing(needs)
	if err != nil || list == nil {
		return err
	}
	return fmt.Errorf("%w: %s is missing (to %s)%s", ErrNoPrivilege, list[0].Name, list[0].Why, advice)
}

// KeepOnly gives up what this launch does not take, for grants that came with more.
func KeepOnly(h here.Here, needed uint64) error {
	have, err := nsexec.CurrentCapabilities()
	if err != nil || os.Getuid() == 0 || h.Rootless() || have.Permitted&^needed == 0 {
		return err
	}
	return nsexec.SettleProcess(os.Getuid(), os.Getgid(), nil, needed)
}

// CheckNetwork says what is missing for a private network.
func CheckNetwork() error {
	return Require(NetworkRequirements, ": root grants it with `runtime grant`, where the policy lets somebody have a private network")
}
