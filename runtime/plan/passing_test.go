package plan

import (
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Descriptors are passed to the container's command alone, and so is what tells of
// them.
func TestWhoJoinsIsToldOfNoDescriptors(t *testing.T) {
	for env, want := range map[string]string{
		"MAKEFLAGS= -j4 --jobserver-auth=7,8 -- A=b\\  --jobserver-auth=7,8": "MAKEFLAGS= -j4 -- A=b\\  --jobserver-auth=7,8",
		"MAKEFLAGS=s -j --jobserver-fds=7,8":                                 "MAKEFLAGS=s -j",
		"MAKEFLAGS=--jobserver-auth=7,8":                                     "MAKEFLAGS=",
		"MAKEFLAGS=-j4 --jobserver-auth=fifo:/t/x":                           "MAKEFLAGS=-j4 --jobserver-auth=fifo:/t/x",
		"MAKEFLAGS=-j4":              "MAKEFLAGS=-j4",
		"OTHER=--jobserver-auth=7,8": "OTHER=--jobserver-auth=7,8",
		"LISTEN_FDS=1":               "",
		"LISTEN_FDNAMES=a":           "",
		"LISTEN_PID=2":               "",
		"LISTEN_FDSET=1":             "LISTEN_FDSET=1",
	} {
		p := &Plan{Spec: specs.Spec{Process: &specs.Process{Env: []string{env}}}, ListenPID: true}
		all := []string{want, "X=y"}
		if want == "" {
			all = all[1:]
		}
		if got := p.Joining(nil, []string{"X=y"}, "").Spec.Process.Env; !slices.Equal(got, all) {
			t.Errorf("%q becomes %q, want %q", env, got, all)
		}
		if p.Spec.Process.Env[0] != env {
			t.Errorf("the container's own is %q", p.Spec.Process.Env)
		}
	}
	own := "MAKEFLAGS=--jobserver-auth=5,6"
	p := &Plan{Spec: specs.Spec{Process: &specs.Process{}}}
	if got := p.Joining(nil, []string{own}, "").Spec.Process.Env; !slices.Equal(got, []string{own}) {
		t.Errorf("what was asked for is %q", got)
	}
}
