package launch

import (
	"fmt"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/personality"
	"mayfly/personality/arch"
	"mayfly/runtime/privilege"
)

// namespaceFlags returns the namespaces that makeNamespaces makes. The tables of this
// package are functions: a map that is a variable is made at each start of the program,
// whatever it does.
func namespaceFlags() map[specs.LinuxNamespaceType]int {
	return map[specs.LinuxNamespaceType]int{
		specs.MountNamespace:  unix.CLONE_NEWNS,
		specs.PIDNamespace:    unix.CLONE_NEWPID,
		specs.UTSNamespace:    unix.CLONE_NEWUTS,
		specs.IPCNamespace:    unix.CLONE_NEWIPC,
		specs.CgroupNamespace: unix.CLONE_NEWCGROUP,
	}
}

// capabilityBits returns the capabilities of plan.Capabilities by OCI's names.
func capabilityBits() map[string]int {
	return map[string]int{
		"CAP_CHOWN":        unix.CAP_CHOWN,
		"CAP_DAC_OVERRIDE": unix.CAP_DAC_OVERRIDE,
		"CAP_FOWNER":       unix.CAP_FOWNER,
		"CAP_FSETID":       unix.CAP_FSETID,
		"CAP_KILL":         unix.CAP_KILL,
		"CAP_SETGID":       unix.CAP_SETGID,
		"CAP_SETUID":       unix.CAP_SETUID,
		"CAP_SETPCAP":      unix.CAP_SETPCAP,
		"CAP_SETFCAP":      unix.CAP_SETFCAP,
		"CAP_SYS_CHROOT":   unix.CAP_SYS_CHROOT,
	}
}

// capabilitySet returns the bounding set of a plan as bits (bit N is capability N). nil
// is the empty set. A capability that is not in plan.Capabilities is an error.
func capabilitySet(c *specs.LinuxCapabilities) (uint64, error) {
	var set uint64
	if c == nil {
		return 0, nil
	}
	bits := capabilityBits()
	for _, name := range c.Bounding {
		bit, ok := bits[name]
		if !ok {
			return 0, fmt.Errorf("capability %s is not one that a container may keep", name)
		}
		set |= 1 << bit
	}
	return set, nil
}

func setPersonality(p *specs.LinuxPersonality) error {
	switch p.Domain {
	case specs.PerLinux32:
		return personality.Set(arch.Linux32)
	case specs.PerLinux:
		return personality.Set(arch.Linux)
	}
	return fmt.Errorf("personality %s: none that a launch takes on", p.Domain)
}

// confine gives up every privilege that the command shall not have. The order matters:
// each call needs a capability that a later one takes away. The seccomp filter is not
// loaded here: each command loads it after clone(2).
func (l *Launch) confine() error {
	nsexec.Umask(l.Umask)
	if err := nsexec.SetTimerSlack(l.Plan.TimerSlack); err != nil {
		return err
	}
	process, linux := l.Plan.Spec.Process, l.Plan.Spec.Linux
	if err := setPersonality(linux.Personality); err != nil {
		return err
	}
	keep, err := capabilitySet(process.Capabilities)
	if err != nil {
		return err
	}
	if l.Plan.RootInside() {
		keep = 0 // the command gets them itself, in the user namespace
	}
	if err := nsexec.LimitBounding(keep); err != nil {
		return err
	}
	if err := l.becomeUser(); err != nil {
		return err
	}
	permitted := keep | shield
	if linux.Resources != nil || l.Plan.RootInside() {
		permitted |= intoGroup
	}
	if err := nsexec.SetCapabilities(permitted, keep); err != nil {
		return err
	}
	l.confined = true
	return nsexec.NoNewPrivileges()
}

// shield is a capability that stays permitted until execve(2). It cannot be used for
// anything, since the bounding set is empty. It protects the thread from ptrace(2) and
// from all that makes the same check, such as opening /proc/PID/fd: the kernel refuses
// a caller who has fewer capabilities than the target.
//
// The dumpable flag does not protect a thread at its end: exit_mm() detaches the memory
// before the descriptors are closed, and the kernel does not look at the flag of a
// thread without memory. The thread has the caller's ids by now, so the caller can kill
// it at any moment.
const shield = privilege.SetPCap

// intoGroup is permitted as well where commands are born in a control group or become
// root of a user namespace (nsexec.Command). The command gives it up before execve(2).
const intoGroup = 1 << unix.CAP_SETUID

// becomeUser sets the command's ids. With root inside these are the owner's on the
// host: the command becomes root later, in the user namespace. A caller who runs as
// themself by file capabilities has the ids already; then only the ids for files are
// set, and the supplementary groups stay as the kernel has them.
func (l *Launch) becomeUser() error {
	who := l.Plan.Spec.Process.User
	if l.Plan.RootInside() {
		who = specs.User{UID: l.Plan.Owner.UID, GID: l.Plan.Owner.GID, AdditionalGids: who.AdditionalGids}
	}
	if err := nsexec.KeepCapabilities(); err != nil {
		return err
	}
	if !l.Plan.SetIDs && !l.Plan.KeepGroups && os.Geteuid() == int(who.UID) && os.Getegid() == int(who.GID) {
		return nsexec.SetFSIDs(int(who.UID), int(who.GID))
	}
	return nsexec.SetIDs(who.UID, who.GID, who.AdditionalGids)
}
