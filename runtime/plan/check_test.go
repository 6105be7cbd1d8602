package plan

import (
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestAPlanThatSaysWhatALaunchDoesNotDoIsRefused(t *testing.T) {
	fresh := func() *Plan { return plan(t, Request{Image: "i", Command: []string{"true"}}, facts()) }
	if err := fresh().Check(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*specs.Spec){
		"namespace time": func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
		},
		"namespace nosuch": func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "nosuch"})
		},
		"namespace network": func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace})
		},
		"namespace user": func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		},
		"namespace pid: path /proc/1": func(s *specs.Spec) { s.Linux.Namespaces[1].Path = "/proc/1/ns/pid" },
		"path /etc/shadow":            func(s *specs.Spec) { s.Linux.MaskedPaths = append(s.Linux.MaskedPaths, "/etc/shadow") },
		"read-only path /usr":         func(s *specs.Spec) { s.Linux.ReadonlyPaths = append(s.Linux.ReadonlyPaths, "/usr") },
		"linux.seccomp":               func(s *specs.Spec) { s.Linux.Seccomp = &specs.LinuxSeccomp{} },
		"linux.rootfsPropagation":     func(s *specs.Spec) { s.Linux.RootfsPropagation = "shared" },
		"linux.resources.pids":        func(s *specs.Spec) { s.Linux.Resources = &specs.LinuxResources{Pids: &specs.LinuxPids{}} },
		"linux.personality.flags":     func(s *specs.Spec) { s.Linux.Personality.Flags = []specs.LinuxPersonalityFlag{"x"} },
		"linux.personality: a launch": func(s *specs.Spec) { s.Linux.Personality = nil },
		"sets one":                    func(s *specs.Spec) { s.Linux.Personality.Domain = "LINUX64" },
		"hooks":                       func(s *specs.Spec) { s.Hooks = &specs.Hooks{} },
		"domainname":                  func(s *specs.Spec) { s.Domainname = "x" },
		"process.apparmorProfile":     func(s *specs.Spec) { s.Process.ApparmorProfile = "x" },
		"process.user.umask":          func(s *specs.Spec) { s.Process.User.Umask = new(uint32) },
		"process.noNewPrivileges":     func(s *specs.Spec) { s.Process.NoNewPrivileges = false },
		"process.capabilities":        func(s *specs.Spec) { s.Process.Capabilities.Ambient = []string{"CAP_CHOWN"} },
		"capability CAP_SYS_ADMIN": func(s *specs.Spec) {
			*s.Process.Capabilities = specs.LinuxCapabilities{Bounding: []string{"CAP_SYS_ADMIN"}, Effective: []string{"CAP_SYS_ADMIN"}, Permitted: []string{"CAP_SYS_ADMIN"}}
		},
		"process.rlimits":              func(s *specs.Spec) { s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE"}} },
		"mount on /home: option bogus": func(s *specs.Spec) { mountOn(s, "/home").Options = []string{"rbind", "bogus"} },
		`mount on /tmp: type "ext4"`:   func(s *specs.Spec) { mountOn(s, "/tmp").Type = "ext4" },
		"mount on /tmp: mappings":      func(s *specs.Spec) { mountOn(s, "/tmp").UIDMappings = []specs.LinuxIDMapping{{}} },
		"a process, a root and linux":  func(s *specs.Spec) { s.Process = nil },
	} {
		p := fresh()
		change(&p.Spec)
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func mountOn(s *specs.Spec, destination string) *specs.Mount {
	for i := range s.Mounts {
		if s.Mounts[i].Destination == destination {
			return &s.Mounts[i]
		}
	}
	return nil
}
