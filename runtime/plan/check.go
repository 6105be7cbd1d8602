package plan

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Check returns an error for a plan with something in it that a launch cannot do. OCI
// specifications have words for much more, and a container that lacks what was asked
// for is worse than none.
func (p *Plan) Check() error {
	spec := &p.Spec
	if spec.Process == nil || spec.Root == nil || spec.Linux == nil {
		return fmt.Errorf("plan: a process, a root and linux must be there")
	}
	for _, part := range []struct {
		name    string
		value   any
		handled []string
	}{
		{"", *spec, []string{"ociVersion", "process", "root", "hostname", "mounts", "annotations", "linux"}},
		{"root.", *spec.Root, []string{"path", "readonly"}},
		{"process.", *spec.Process, []string{"terminal", "user", "args", "env", "cwd", "capabilities", "rlimits", "noNewPrivileges"}},
		{"process.user.", spec.Process.User, []string{"uid", "gid", "additionalGids"}},
		{"linux.", *spec.Linux, []string{"namespaces", "maskedPaths", "readonlyPaths", "uidMappings", "gidMappings", "personality", "resources"}},
		{"linux.resources.", orZero(spec.Linux.Resources), []string{"unified"}},
		{"linux.personality.", orZero(spec.Linux.Personality), []string{"domain"}},
	} {
		if name := unhandled(reflect.ValueOf(part.value), part.handled); name != "" {
			return fmt.Errorf("plan: %s%s is not something that a launch does", part.name, name)
		}
	}
	return p.checkParts()
}

func orZero[T any](p *T) (value T) {
	if p != nil {
		value = *p
	}
	return value
}

// unhandled returns the JSON name of a field that is set and not among the handled
// ones; "": none.
func unhandled(v reflect.Value, handled []string) string {
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if !v.Field(i).IsZero() && !slices.Contains(handled, name) {
			return name
		}
	}
	return ""
}

func (p *Plan) checkParts() error {
	linux, process := p.Spec.Linux, p.Spec.Process
	if !process.NoNewPrivileges {
		return fmt.Errorf("plan: process.noNewPrivileges is always on")
	}
	if p := linux.Personality; p == nil || p.Domain != specs.PerLinux && p.Domain != specs.PerLinux32 {
		return fmt.Errorf("plan: linux.personality: a launch always sets one, %s or %s", specs.PerLinux, specs.PerLinux32)
	}
	if err := checkCapabilities(process.Capabilities); err != nil {
		return fmt.Errorf("plan: process.capabilities: %w", err)
	}
	for _, l := range process.Rlimits {
		if !slices.Contains(ResourceLimits, l.Type) {
			return fmt.Errorf("plan: process.rlimits: limit %s is not one that a command may have", l.Type)
		}
	}
	for _, n := range linux.Namespaces {
		if err := p.checkNamespace(n); err != nil {
			return fmt.Errorf("plan: namespace %s: %w", n.Type, err)
		}
	}
	for _, name := range slices.Concat(linux.MaskedPaths, linux.ReadonlyPaths) {
		if !OnScratch(name) {
			return fmt.Errorf("plan: masked or read-only path %s: only what is in %s can be", name, strings.Join(OwnFilesystems, ", "))
		}
	}
	for _, m := range p.Spec.Mounts {
		if err := checkMount(m); err != nil {
			return fmt.Errorf("plan: mount on %s: %w", m.Destination, err)
		}
		if m.Type == OnDisk && (p.Disk == "" || m.Source == "" || m.Source == ".." || strings.Contains(m.Source, "/")) {
			return fmt.Errorf("plan: mount on %s: no directory %q of a disk", m.Destination, m.Source)
		}
	}
	return nil
}

func checkCapabilities(c *specs.LinuxCapabilities) error {
	if c == nil {
		return nil
	}
	if len(c.Ambient)+len(c.Inheritable) > 0 || !slices.Equal(c.Bounding, c.Effective) || !slices.Equal(c.Bounding, c.Permitted) {
		return fmt.Errorf("bounding, effective and permitted must be the same, and no other set is given")
	}
	for _, name := range c.Bounding {
		if !slices.Contains(Capabilities, name) {
			return fmt.Errorf("capability %s is not one that a container may keep", name)
		}
	}
	return nil
}

// checkNamespace accepts new namespaces of the types that a launch makes. A network and
// a user namespace must agree with NetworkMode and the id mappings.
func (p *Plan) checkNamespace(n specs.LinuxNamespace) error {
	made := slices.Contains(Namespaces, n.Type)
	switch {
	case n.Path != "":
		return fmt.Errorf("path %s: a launch makes new ones", n.Path)
	case n.Type == specs.NetworkNamespace:
		made = p.NetworkMode != ""
	case n.Type == specs.UserNamespace:
		made = p.RootInside()
	}
	if !made {
		return fmt.Errorf("is not one that a launch makes")
	}
	return nil
}

// What a launch can do, by OCI's names. The packages that do it have tables with
// numbers; their tests compare the two.
var (
	// Namespaces are the types that every launch makes.
	Namespaces = []specs.LinuxNamespaceType{specs.MountNamespace, specs.PIDNamespace, specs.UTSNamespace, specs.IPCNamespace, specs.CgroupNamespace}
	// ResourceLimits are the resource limits that a command may have.
	ResourceLimits = []string{"RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_NPROC"}
	// Capabilities are those of root who changes an image, and of root inside: what
	// package managers and their scripts use.
	Capabilities = []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
		"CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_SETFCAP", "CAP_SYS_CHROOT"}
	// MountAttributes are the option words of mount(8) that every mount may have.
	MountAttributes = []string{"ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "nosymfollow", "symfollow",
		"nodiratime", "diratime", "noatime", "relatime", "strictatime"}
	// bindOptions are the option words that tell how the source of a bind is copied.
	bindOptions = []string{"bind", "defaults", "rbind", "private", "rprivate", "slave", "rslave"}
)

// filesystems are the types that a launch can mount.
var filesystems = []string{"bind", "proc", "sysfs", "cgroup2", "tmpfs", OnDisk, "devpts", "mqueue"}

func checkMount(m specs.Mount) error {
	if len(m.UIDMappings)+len(m.GIDMappings) > 0 {
		return fmt.Errorf("mappings of its own are not something that a launch does")
	}
	if !slices.Contains(filesystems, m.Type) {
		return fmt.Errorf("type %q is not one of %s", m.Type, strings.Join(filesystems, ", "))
	}
	if m.Type != "bind" {
		return nil
	}
	for _, option := range m.Options {
		if !slices.Contains(MountAttributes, option) && !slices.Contains(bindOptions, option) {
			return fmt.Errorf("option %s is not one of a bind", option)
		}
	}
	return nil
}
