package launch

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"mayfly/nsexec/inside"
	"mayfly/runtime/here"
	"mayfly/runtime/plan"
	"mayfly/runtime/privilege"
	"mayfly/runtime/rootfs"
	"mayfly/runtime/seccomp"
	"mayfly/runtime/status"
)

// agree holds a table of numbers against what a plan may say.
func agree[K ~string](t *testing.T, what string, table map[K]int, list []K, numbers map[K]int) {
	t.Helper()
	for _, name := range list {
		if n, ok := table[name]; !ok || n != numbers[name] {
			t.Errorf("%s %s: %#x, %v; want %#x", what, name, n, ok, numbers[name])
		}
	}
	for name := range table {
		if !slices.Contains(list, name) {
			t.Errorf("%s %s is one that no plan may have", what, name)
		}
	}
}

func TestALaunchDoesWhatAPlanMaySayAndNothingElse(t *testing.T) {
	agree(t, "namespace", namespaceFlags(), plan.Namespaces, map[specs.LinuxNamespaceType]int{
		"mount": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000, "pid": 0x20000000})
	agree(t, "limit", resources(), plan.ResourceLimits, map[string]int{ // getrlimit(2)
		"RLIMIT_FSIZE": 1, "RLIMIT_DATA": 2, "RLIMIT_NPROC": 6, "RLIMIT_NOFILE": 7, "RLIMIT_AS": 9})
	agree(t, "capability", capabilityBits(), plan.Capabilities, map[string]int{ // linux/capability.h
		"CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_FOWNER": 3, "CAP_FSETID": 4, "CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_SETPCAP": 8,
		"CAP_SYS_CHROOT": 18, "CAP_SETFCAP": 31})
}

func TestWhatAPlanMayNotSayIsAnError(t *testing.T) {
	if _, err := capabilitySet(&specs.LinuxCapabilities{Bounding: []string{"CAP_CHOWN", "CAP_SYS_ADMIN"}}); err == nil || !strings.Contains(err.Error(), "CAP_SYS_ADMIN is not one") {
		t.Errorf("capability: %v", err)
	}
	if _, err := limitsOf([]specs.POSIXRlimit{{Type: "RLIMIT_AS"}, {Type: "RLIMIT_CORE"}}); err == nil || !strings.Contains(err.Error(), "RLIMIT_CORE is not one") {
		t.Errorf("limit: %v", err)
	}
	for _, domain := range []specs.LinuxPersonalityDomain{"", "PER_SVR4", "linux"} {
		if err := setPersonality(&specs.LinuxPersonality{Domain: domain}); err == nil || !strings.Contains(err.Error(), "none that a launch takes on") {
			t.Errorf("personality %q: %v", domain, err)
		}
	}
	// Namespaces are looked at before one is made: as root this would else leave the
	// test in another one.
	for _, kind := range []specs.LinuxNamespaceType{"time", "", "mnt"} {
		l := launchOf(specs.Spec{Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: "uts"}, {Type: kind}}}})
		if err := l.makeNamespaces(); err == nil || !strings.Contains(err.Error(), "none that a launch makes") {
			t.Errorf("namespace %q: %v", kind, err)
		}
	}
}

func launchOf(spec specs.Spec) *Launch {
	return &Launch{Builder: rootfs.Builder{Plan: &plan.Plan{Spec: spec}}}
}

func TestCapabilitiesAreASetOfBits(t *testing.T) {
	for _, c := range []struct {
		caps *specs.LinuxCapabilities
		want uint64
	}{
		{nil, 0},
		{&specs.LinuxCapabilities{}, 0},
		{&specs.LinuxCapabilities{Bounding: []string{"CAP_CHOWN", "CAP_SETFCAP"}}, 1 | 1<<31},
		{&specs.LinuxCapabilities{Bounding: plan.Capabilities}, 0x800401fb},
	} {
		if got, err := capabilitySet(c.caps); err != nil || got != c.want {
			t.Errorf("%+v: %#x, %v; want %#x", c.caps, got, err, c.want)
		}
	}
}

func TestLimitsKeepTheirNumbers(t *testing.T) {
	limits, err := limitsOf([]specs.POSIXRlimit{{Type: "RLIMIT_AS", Soft: 1, Hard: 2}, {Type: "RLIMIT_NPROC", Soft: 3, Hard: unix.RLIM_INFINITY}})
	if err != nil || len(limits) != 2 || limits[0].Resource != unix.RLIMIT_AS || limits[0].Rlimit != (unix.Rlimit{Cur: 1, Max: 2}) ||
		limits[1].Resource != unix.RLIMIT_NPROC || limits[1].Rlimit != (unix.Rlimit{Cur: 3, Max: unix.RLIM_INFINITY}) {
		t.Errorf("%+v, %v", limits, err)
	}
	if limits, err := limitsOf(nil); err != nil || limits != nil {
		t.Errorf("none: %v, %v", limits, err)
	}
}

func TestEachKindOfCommandHasAFilterOfItsOwn(t *testing.T) {
	names := map[*unix.SockFilter]string{&seccomp.Filter[0]: "Filter", &seccomp.Isolated[0]: "Isolated", &seccomp.IsolatedMultiplexed[0]: "IsolatedMultiplexed",
		&seccomp.Nested[0]: "Nested", &seccomp.NestedIsolated[0]: "NestedIsolated", &seccomp.NestedIsolatedMultiplexed[0]: "NestedIsolatedMultiplexed"}
	seen := map[string]bool{}
	for _, nested := range []bool{false, true} {
		for _, network := range []string{"", "none", "private", "interface"} {
			for _, multiplexed := range []bool{false, true} {
				want := "Filter"
				if nested {
					want = "Nested"
				}
				if network != "" {
					want = strings.TrimPrefix(want+"Isolated", "Filter")
				}
				if network != "" && multiplexed {
					want += "Multiplexed"
				}
				p := &plan.Plan{Nested: nested, NetworkMode: network, Multiplexed: multiplexed}
				if got := names[&filterOf(p)[0]]; got != want {
					t.Errorf("nested %v, network %q, multiplexed %v: %s, want %s", nested, network, multiplexed, got, want)
				}
				seen[want] = true
			}
		}
	}
	if len(seen) != len(names) {
		t.Errorf("only %v are used", slices.Sorted(maps.Keys(seen)))
	}
}

func emptyPlan() *plan.Plan {
	return &plan.Plan{Spec: specs.Spec{Process: &specs.Process{}, Linux: &specs.Linux{}}}
}

func TestNoStepAfterTheConfinementRaisesACapability(t *testing.T) {
	steps := New(here.Here{}, emptyPlan(), nil, Outside{}).steps()
	var names []string
	for _, s := range steps {
		if slices.Contains(names, s.name) || s.name == "" || s.do == nil {
			t.Errorf("step %q", s.name)
		}
		names = append(names, s.name)
		if s.raise&^privilege.LaunchCapabilities != 0 {
			t.Errorf("%s raises %#x, which a grant without overlays and networks does not have", s.name, s.raise)
		}
	}
	place := func(name string) int {
		i := slices.Index(names, name)
		if i < 0 {
			t.Fatalf("no step %q among %q", name, names)
		}
		return i
	}
	for _, s := range steps[place("confine")+1:] {
		if s.raise != privilege.None {
			t.Errorf("%s raises %#x, which is given up by then", s.name, s.raise)
		}
	}
	// What a step takes must have been made, or must not have been left yet.
	for _, pair := range [][2]string{
		{"act on files as root", "build /dev, /proc and /sys"},
		{"open what is bound from the host", "make namespaces"}, // the kernel copies no other namespace's mounts
		{"make a network", "make namespaces"},                   // which enters it
		{"make namespaces", "start PID 1"},
		{"start PID 1", "build /dev, /proc and /sys"}, // with its procfs
		{"build /dev, /proc and /sys", "take the root file system"},
		{"take the root file system", "keep PID 1"}, // by then the control group is there
		{"take the root file system", "mount"},
		{"mount", "open a terminal"},
		{"mount", "enter the root file system"},
		{"open a terminal", "enter the root file system"},
		{"enter the root file system", "look for the host's processes"},
		{"look for the host's processes", "confine"},
		{"confine", "change directory"}, // with the user's own rights
		{"change directory", "execute"},
	} {
		if place(pair[0]) >= place(pair[1]) {
			t.Errorf("%q comes after %q", pair[0], pair[1])
		}
	}
	if names[len(names)-1] != "execute" {
		t.Errorf("the last step is %q", names[len(names)-1])
	}
}

func TestASignalEndsALaunchBeforeItsNextStep(t *testing.T) {
	l := New(here.Here{}, emptyPlan(), nil, Outside{})
	l.Interrupt.Store(int32(syscall.SIGTERM))
	var interrupted status.ErrInterrupted
	if err := l.run(); !errors.As(err, &interrupted) || interrupted.Signal != syscall.SIGTERM {
		t.Errorf("%v", err)
	}
}

func TestALaunchThatFailsNamesTheStep(t *testing.T) {
	if !inside.AsUser(t) {
		return
	}
	l := New(here.Here{}, emptyPlan(), nil, Outside{})
	l.Start()
	if err := <-l.Started; !errors.Is(err, unix.EPERM) || !strings.HasPrefix(err.Error(), "act on files as root: ") {
		t.Errorf("%v", err)
	}
}
