package runtime

import (
	"errors"
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"mayfly/runtime/control"
)

// Whatever a client says, another user's command asks nobody on /dev/tty.
func TestAnotherUsersCommandGetsNoTerminalToAskOn(t *testing.T) {
	over := make(chan struct{})
	close(over)
	for _, c := range []struct {
		setIDs, tty bool
		want        error
	}{{true, true, unix.EINVAL}, {true, false, errEnding}, {false, true, errEnding}} {
		l := &launch{plan: &Plan{SetIDs: c.setIDs}, over: over}
		if _, _, err := l.ask(control.Exec{Args: []string{"true"}, TTY: c.tty}, []int{0, 1, 2}); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// Descriptors are passed to the container's command alone, and so is what tells of them.
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
		if got := p.with(control.Exec{Env: []string{"X=y"}}).Spec.Process.Env; !slices.Equal(got, all) {
			t.Errorf("%q becomes %q, want %q", env, got, all)
		}
		if p.Spec.Process.Env[0] != env {
			t.Errorf("the container's own is %q", p.Spec.Process.Env)
		}
	}
	own := "MAKEFLAGS=--jobserver-auth=5,6"
	p := &Plan{Spec: specs.Spec{Process: &specs.Process{}}}
	if got := p.with(control.Exec{Env: []string{own}}).Spec.Process.Env; !slices.Equal(got, []string{own}) {
		t.Errorf("what was asked for is %q", got)
	}
}
