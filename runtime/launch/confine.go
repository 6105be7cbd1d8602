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

var namespaceFlags = map[specs.LinuxNamespaceType]int{
	specs.MountNamespace:  unix.CLONE_NEWNS,
	specs.PIDNamespace:    unix.CLONE_NEWPID,
	specs.UTSNamespace:    unix.CLONE_NEWUTS,
	specs.IPCNamespace:    unix.CLONE_NEWIPC,
	specs.CgroupNamespace: unix.CLONE_NEWCGROUP,
}

// capabilityBits are the capabilities that a plan can leave to a command.
var capabilityBits = map[string]int{
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

func capabilitySet(c *specs.LinuxCapabilities) (uint64, error) {
	var set uint64
	if c == nil {
		return 0, nil
	}
	for _, name := range c.Bounding {
		bit, ok := capabilityBits[name]
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

// confine gives up everything. The order matters: each line needs what a later one
// takes away. The seccomp filter is what a command comes under on its own way, after
// clone(2).
func (l *Launch) confine() error {
	nsexec.Umask(l.Umask)
	process, linux := l.Plan.Spec.Process, l.Plan.Spec.Linux
	if err := setPersonality(linux.Personality); err != nil {
		return err
	}
	keep, err := capabilitySet(process.Capabilities)
	if err != nil {
		return err
	}
	if l.Plan.RootInside() {
		keep = 0 // it is the command that has them, and elsewhere
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
	return nsexec.NoNewPrivileges()
}

// shield is a capability that the thread is permitted until execve(2) takes it away,
// and that is good for nothing: the bounding set is empty. It is there because of
// ptrace(2) and all that asks the same question, as /proc/PID/fd does: who has fewer
// capabilities is refused. That the memory is not dumpable, the kernel does not ask of
// a thread that has just given it back on its way out, with its descriptors still open;
// and the caller, whose ids the thread has by now, can send it on its way at any
// moment.
const shield = privilege.SetPCap

// intoGroup is what the thread is permitted besides where commands are born in a
// control group, or become root of a user namespace (nsexec.Command). A command has
// lost it before it is executed.
const intoGroup = 1 << unix.CAP_SETUID

// becomeUser takes on the command's ids. A caller who runs as themself, through
// file capabilities, has them already, and keeps their groups as the kernel knows
// them: with nothing to set, there is nothing to get wrong.
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
