package plan

import (
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"mayfly/runtime/caller"
)

func TestAJobserverIsPassedWhereMakeFlagsAre(t *testing.T) {
	j := &Jobserver{Word: "--jobserver-auth=fifo:/tmp/x", Read: 7, Write: 8}
	for _, c := range []struct {
		env, want string
		fds       []int
	}{
		{"MAKEFLAGS=-j4 --jobserver-auth=fifo:/tmp/x -- A=b", "MAKEFLAGS=-j4 --jobserver-auth=7,8 -- A=b", []int{3, 7, 8}},
		{"MAKEFLAGS=-j4", "MAKEFLAGS=-j4", []int{3}},
		{"OTHER=--jobserver-auth=fifo:/tmp/x", "OTHER=--jobserver-auth=fifo:/tmp/x", []int{3}},
	} {
		p := &Plan{Spec: specs.Spec{Process: &specs.Process{Env: []string{c.env}}}}
		p.pass(Request{Passing: Passing{Asked: []int{3}, Jobserver: j}}, caller.Caller{})
		if !slices.Equal(p.Descriptors, c.fds) || !slices.Equal(p.Spec.Process.Env, []string{c.want}) {
			t.Errorf("%s: %v with %q", c.env, p.Descriptors, p.Spec.Process.Env)
		}
	}
}

func TestListeningSocketsAreToldOf(t *testing.T) {
	p := &Plan{Spec: specs.Spec{Process: &specs.Process{}}}
	p.pass(Request{Passing: Passing{Listening: 2}}, caller.Caller{Env: []string{"LISTEN_FDNAMES=a:b"}})
	want := []string{"LISTEN_FDS=2", "LISTEN_FDNAMES=a:b"}
	if !slices.Equal(p.Descriptors, []int{3, 4}) || !slices.Equal(p.Spec.Process.Env, want) || !p.ListenPID {
		t.Errorf("%v with %q, %v", p.Descriptors, p.Spec.Process.Env, p.ListenPID)
	}
}
