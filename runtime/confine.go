package runtime

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"mayfly/personality"
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
	if p.Domain == specs.PerLinux32 {
		return personality.Set(personality.Linux32)
	}
	return personality.Set(personality.Linux)
}
