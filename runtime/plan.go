package runtime

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"mayfly/personality/arch"
	"mayfly/runtime/image/ref"
)

// A Plan is everything that a launch does, decided. Its core is an OCI runtime
// specification; the rest is what OCI has no word for.
type Plan struct {
	Store     string `json:"store"`
	Image     string `json:"image"`             // name
	Version   int    `json:"version,omitempty"` // 0: the image has no versions
	Draft     string `json:"draft,omitempty"`   // an image that is being made, to be changed
	Session   string `json:"session,omitempty"` // the owner's writable copy of the image, to run in
	Container string `json:"container"`
	Copy      string `json:"copy,omitempty"` // name of the throw-away copy, see Snapshot
	Ephemeral bool   `json:"ephemeral"`      // the image stays as it is
	// Snapshot: run in a throw-away copy. Without it, and Ephemeral, the image is mounted itself, read-only:
	// a version does not change, so a copy would look the same.
	Snapshot bool `json:"snapshot"`

	// Own: in a user namespace of the caller's, without a grant.
	Own bool `json:"unprivileged,omitempty"`

	// CallerBinds are the destinations of those mounts whose source is opened with
	// the caller's own rights.
	CallerBinds []string `json:"callerBinds,omitempty"`
	// They must be in one of these directories of the host, with links resolved.
	BindFrom         []string `json:"bindFrom,omitempty"`
	BindReadOnlyFrom []string `json:"bindReadOnlyFrom,omitempty"`
	// Devices are device nodes of the host, besides those of every container.
	Devices []string `json:"devices,omitempty"`
	// Files are small files of the container's own, mounted read-only.
	Files []File `json:"files,omitempty"`
	// Replace are files of the copy that the container has its own of. Where the root
	// file system can be written to they are no mounts: programs put new ones in their
	// place.
	Replace []File `json:"replace,omitempty"`
	// Append are lines that are added to files of the copy.
	Append []File `json:"append,omitempty"`
	// Login makes the command's name begin with "-", as for a login shell.
	Login bool `json:"login,omitempty"`
	// Fallback is executed where the image does not have the command.
	Fallback []string `json:"fallback,omitempty"`
	// TTY: the command has a terminal of its own as /dev/tty, and descriptors that are
	// passed through.
	TTY bool `json:"tty,omitempty"`
	// SetIDs: the command runs as another user than the caller.
	SetIDs bool `json:"setIDs"`
	// KeepGroups: root inside cannot give up the caller's groups.
	KeepGroups bool `json:"keepGroups,omitempty"`
	// CwdID is which directory of the host the working directory is; nil: whatever has
	// the name. CwdNames are other names of it inside, in case something hides it by
	// the first.
	CwdID    *fileID  `json:"cwdID,omitempty"`
	CwdNames []string `json:"cwdNames,omitempty"`
	// DirRequired: no other working directory will do.
	DirRequired bool `json:"dirRequired,omitempty"`
	// Descriptors are those that the program was started with and the command gets,
	// besides 0, 1 and 2.
	Descriptors []int `json:"descriptors,omitempty"`
	// ListenPID: the command is told that sockets among them are for it.
	ListenPID bool `json:"listenPID,omitempty"`
	// ReadAhead are files of the image that the command's start is likely to read.
	ReadAhead []string `json:"readAhead,omitempty"`

	// KeepInit: PID 1 is moved out of the control groups in which the caller may move processes.
	KeepInit bool `json:"keepInit,omitempty"`
	// Containers is how many the owner may have at a time, this one included; 0: any number.
	Containers int `json:"containers,omitempty"`

	// Network is as it was asked for; NetworkMode what kind the container has of its own, "" for the host's.
	Network     string  `json:"network"`
	NetworkMode string  `json:"networkMode,omitempty"`
	Join        *Joined `json:"join,omitempty"` // whose network it is
	// NetworkRange are the addresses of which a private network has one; Publish are the host's ports that lead to it.
	NetworkRange string `json:"networkRange,omitempty"`
	Publish      []Port `json:"publish,omitempty"`

	// Multiplexed: the image's programs are of 32-bit x86, which make sockets by socketcall(2).
	Multiplexed bool `json:"multiplexed,omitempty"`

	// Nested: commands may make user namespaces.
	Nested bool `json:"nestedNamespaces,omitempty"`

	// Measure: tell afterwards what the container has used.
	Measure bool `json:"measure,omitempty"`

	// Notes are what the user may want to know, and Warnings what they must.
	Notes    []string `json:"notes,omitempty"`
	Warnings []string `json:"warnings,omitempty"`

	Timeout   time.Duration `json:"timeout,omitempty"`
	KillAfter time.Duration `json:"killAfter,omitempty"`
	// OutputLimit is how many bytes the command may write to standard output and error; 0: any number.
	OutputLimit int64 `json:"outputLimit,omitempty"`

	Spec specs.Spec `json:"spec"`

	joined bool // the command joins a container that is there
}

// A File is a file that exists only in one container.
type File struct {
	Path    string `json:"path"`
	Content string `json:"content"`
	Link    string `json:"link,omitempty"` // instead of a content: what a symbolic link says
}

// Errors of requests.
var (
	// ErrNotPermitted means that only root may ask for it.
	ErrNotPermitted = errors.New("only root may do this")
	// ErrNoGrant means that it takes a grant.
	ErrNoGrant = errors.New("not possible without a grant, which root gives with `runtime grant`")
)

// hostFiles are mounted read-only where the host has them.
var hostFiles = []string{resolvConf, localtime}

const (
	resolvConf = "/etc/resolv.conf"
	localtime  = "/etc/localtime"
	timezone   = "/etc/timezone" // Debian's name of the zone that localtime is
)

// NewPlan decides everything about a launch. It is a pure function: it asks
// nothing of the system and needs no privilege.
func NewPlan(r Request, f Facts) (*Plan, error) {
	if err := check(r, f); err != nil {
		return nil, err
	}
	if err := permitted(r, f.Policy); err != nil {
		return nil, err
	}
	r.Binds = slices.Concat(f.along(r), r.Binds)
	p := &Plan{Own: f.Own, Store: f.Policy.Store, Image: r.name(), Version: f.Version, Draft: r.Draft, Session: r.Session, Ephemeral: !r.NoEphemeral,
		Snapshot: !r.NoEphemeral && r.Session == "" && (r.Writable || f.CopyFirst),
		SetIDs:   f.Caller.UID != f.User.UID, Timeout: r.Timeout, KillAfter: r.KillAfter, Measure: r.Measure, OutputLimit: r.OutputLimit}
	p.Spec.Linux = linux()
	p.bound(r.Resources, f.Policy)
	p.keepInit(f)
	if r.Store != "" {
		p.Store = r.Store
	}
	if err := p.name(r, f); err != nil {
		return nil, err
	}
	p.Spec = specs.Spec{
		Version:  specs.Version,
		Root:     &specs.Root{Path: f.Root, Readonly: !r.Writable && !r.NoEphemeral && r.Session == ""},
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
	// Not what runs as the host's root, whose user namespace would have power over
	// root's files.
	p.Nested = f.Policy.NestedNamespaces && (f.RootInside != nil || f.User.UID != 0)
	p.readAhead(f.Image)
	return p, p.personality(r, f)
}

func (p *Plan) note(text string) { p.Notes = append(p.Notes, text) }

func (p *Plan) warn(text string) { p.Warnings = append(p.Warnings, text) }

func check(r Request, f Facts) error {
	root := f.Caller.UID == 0
	if err := r.check(f.Caller, f.Own); err != nil {
		return err
	}
	switch {
	case r.Store != "" && r.Store != f.Policy.Store && !root && !f.Own:
		return fmt.Errorf("--store %s: %w; the policy's store is %s", r.Store, ErrNotPermitted, f.Policy.Store)
	case f.User.UID != f.Caller.UID && !root:
		return fmt.Errorf("--user %s: %w; others run as themselves", r.User, ErrNotPermitted)
	case r.NoEphemeral && f.Version != 0:
		return fmt.Errorf("image %s@%d is sealed, nobody changes it: `runtime image shell %s` makes the next version",
			r.name(), f.Version, r.name())
	}
	_, err := ref.Parse(r.Image)
	return err
}

// name gives the container its name and host name.
func (p *Plan) name(r Request, f Facts) error {
	p.Container = r.Name
	if r.Name == "" {
		p.Container = p.Image[:min(len(p.Image), 47)] + "-" + f.RandomDigits
	}
	if err := ref.CheckName("container", p.Container); err != nil {
		return err
	}
	if p.Snapshot {
		p.Copy = ref.CopyName(f.Caller.UID, p.Container, f.RandomDigits)
	}
	p.Spec.Hostname = r.Hostname
	if r.Hostname == "" {
		p.Spec.Hostname = strings.Trim(strings.ReplaceAll(p.Container, "_", "-"), "-.")
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

// personality is set always: the caller's own would be inherited, of setarch(8) for
// instance, and its flags. Those the kernel takes away from a program with file
// capabilities, so they are nothing that a caller has by one grant and not by another.
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

// Path is where the root file system is on the host while the container runs.
func (p *Plan) Path() string {
	if !p.Snapshot {
		return p.Spec.Root.Path
	}
	return ref.CopyPath(p.Store, p.Copy)
}
