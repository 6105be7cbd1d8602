package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"mayfly/personality/arch"
	"mayfly/runtime/caller"
	"mayfly/runtime/image/ref"
)

// HostFiles are the host's files that are mounted read-only where they exist.
var HostFiles = []string{ResolvConf, Localtime}

const (
	// Files of /etc that a launch gives to a container.
	ResolvConf = "/etc/resolv.conf"
	Localtime  = "/etc/localtime"
	Timezone   = "/etc/timezone" // Debian's: the name of the zone of localtime
)

// New decides everything about a launch. It is a pure function: it asks nothing of the
// system and needs no privilege. The error wraps rule.ErrDenied where the policy
// forbids the request, and caller.ErrNotPermitted or caller.ErrNoGrant where the caller
// lacks the right or a grant.
func New(r Request, f Facts) (*Plan, error) {
	if err := check(r, f); err != nil {
		return nil, err
	}
	if err := Permitted(r, f.Policy); err != nil {
		return nil, err
	}
	r.Binds = slices.Concat(f.Along(r), r.Binds)
	p := &Plan{Owner: Owner{f.Caller.UID, f.Caller.GID}, Rootless: f.Rootless, Limitations: limitations(f), Rule: f.Policy.Place().String(),
		SetIDs: f.Caller.UID != f.User.UID, Timeout: r.Timeout, KillAfter: r.KillAfter, Measure: r.Measure, TimerSlack: r.TimerSlack, OutputLimit: r.OutputLimit}
	p.Spec.Linux = linux()
	p.applyLimits(r.Resources, f.Policy)
	p.keepInit(f)
	p.chooseRoot(r, f)
	if err := p.name(r, f); err != nil {
		return nil, err
	}
	p.Spec = specs.Spec{
		Version:  specs.Version,
		Root:     &specs.Root{Path: f.Root, Readonly: !r.ChangesRoot()},
		Hostname: p.Spec.Hostname,
		Linux:    p.Spec.Linux,
	}
	if err := p.network(r, f); err != nil {
		return nil, err
	}
	if err := p.root(f); err != nil {
		return nil, err
	}
	if err := p.process(r, f); err != nil {
		return nil, err
	}
	p.pass(r, f.Caller)
	if err := p.mounts(r, f); err != nil {
		return nil, err
	}
	p.Multiplexed = p.NetworkMode != "" && f.Image.Debian == "i386"
	// Not commands that run as the host's root: their user namespaces would have power
	// over root's files.
	p.NoSync = r.NoSync
	// In a mount namespace of its own a command would have mounts that are not watched.
	p.Watch = r.Watch
	p.Nested = f.Policy.NestedNamespaces && !r.Watch && (f.RootInside != nil || f.User.UID != 0)
	p.readAhead(f.Image)
	return p, p.personality(r, f)
}

func (p *Plan) note(text string) { p.Notes = append(p.Notes, text) }

func (p *Plan) warn(text string) { p.Warnings = append(p.Warnings, text) }

func check(r Request, f Facts) error {
	root := f.Caller.UID == 0
	if err := r.Check(f.Caller, f.Rootless); err != nil {
		return err
	}
	switch {
	case r.Store != "" && r.Store != f.Policy.Store && !root && !f.Rootless:
		return fmt.Errorf("--store %s: %w; the policy's store is %s", r.Store, caller.ErrNotPermitted, f.Policy.Store)
	case f.User.UID != f.Caller.UID && !root:
		return fmt.Errorf("--user %s: %w; others run as themselves", r.User, caller.ErrNotPermitted)
	case r.NoEphemeral && f.Version != 0:
		return fmt.Errorf("image %s@%d is sealed, nobody changes it: `runtime image shell %s` makes the next version",
			r.ImageName(), f.Version, r.ImageName())
	}
	_, err := ref.Parse(r.Image)
	return err
}

// chooseRoot decides in which root file system the command runs.
func (p *Plan) chooseRoot(r Request, f Facts) {
	p.Root = Root{Kind: RootVersion, Store: cmp.Or(r.Store, f.Policy.Store), Image: r.ImageName(), Version: f.Version}
	switch {
	case r.Draft != "":
		p.Root.Kind, p.Root.Name = RootDraft, r.Draft
	case r.NoEphemeral:
		p.Root.Kind = RootImage
	case r.Session != "" && !r.Discard:
		p.Root.Kind, p.Root.Name = RootSession, r.Session
	case r.Writable || r.Discard || f.NeedsSnapshot:
		p.Root.Kind = RootSnapshot
	}
}

// name gives the container its name and host name.
func (p *Plan) name(r Request, f Facts) error {
	p.Container = r.Name
	if r.Name == "" {
		p.Container = p.Root.Image[:min(len(p.Root.Image), 47)] + "-" + f.RandomDigits
	}
	if err := ref.CheckName("container", p.Container); err != nil {
		return err
	}
	if p.Root.Kind == RootSnapshot {
		p.Root.Name = ref.SnapshotName(f.Caller.UID, p.Container, f.RandomDigits)
	}
	p.Spec.Hostname = r.Hostname
	if r.Hostname == "" {
		name := p.Container
		if r.Login && r.Name == "" { // it stands in the shell's prompt
			name = p.Root.Image
		}
		p.Spec.Hostname = strings.Trim(strings.ReplaceAll(name, "_", "-"), "-.")
	}
	return checkHostname(p.Spec.Hostname)
}

// checkHostname accepts host names of RFC 1123 that fit the kernel's 64 bytes.
func checkHostname(name string) error {
	if len(name) > 64 {
		return fmt.Errorf("hostname %.16q...: longer than 64 characters", name)
	}
	for label := range strings.SplitSeq(name, ".") {
		letters := strings.Trim(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
		if label == "" || len(label) > 63 || letters != "" || label[0] == '-' || label[len(label)-1] == '-' {
			return fmt.Errorf("hostname %q: want letters, digits and inner hyphens (RFC 1123)", name)
		}
	}
	return nil
}

func linux() *specs.Linux {
	return &specs.Linux{
		Namespaces: []specs.LinuxNamespace{{Type: specs.MountNamespace}, {Type: specs.PIDNamespace},
			{Type: specs.UTSNamespace}, {Type: specs.IPCNamespace}, {Type: specs.CgroupNamespace}},
		MaskedPaths: []string{"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
			"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi",
			"/sys/firmware", "/sys/devices/virtual/powercap"},
		ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
	}
}

// personality sets the execution domain always: otherwise the command would inherit the
// caller's, as set by setarch(8), with its flags. The kernel clears the flags when it
// executes a program with file capabilities; so they depend on no kind of grant.
func (p *Plan) personality(r Request, f Facts) error {
	machine := f.Image
	name := r.Personality
	if name == "" {
		name = f.Policy.Personality
	}
	if name != "" {
		var err error
		if machine, err = arch.ByName(name); err != nil {
			return fmt.Errorf("personality: %w", err)
		}
		if !machine.RunsOn(f.Host) {
			return fmt.Errorf("personality %s: this machine is %s", name, f.Host.Name)
		}
	}
	p.Spec.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux}
	if machine.Domain == arch.Linux32 && machine.RunsOn(f.Host) {
		p.Spec.Linux.Personality.Domain = specs.PerLinux32
	}
	return nil
}
