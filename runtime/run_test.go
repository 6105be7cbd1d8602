package runtime

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"mayfly/nsexec/inside"
	"mayfly/runtime/here"
	"mayfly/runtime/plan"
	"mayfly/runtime/privilege"
	"mayfly/runtime/status"
)

// options fail the test where a run goes further than to the refusal.
func options(t *testing.T) Options {
	return Options{
		Note:    func(text string) { t.Errorf("noted: %s", text) },
		Decided: func(*plan.Plan) (io.Writer, error) { t.Error("there is a plan"); return nil, nil },
	}
}

func TestWithoutAGrantNothingRuns(t *testing.T) {
	if !inside.AsUser(t) {
		return
	}
	r := plan.Request{Image: "no-such-image", Command: []string{"true"}}
	how, err := Run(context.Background(), here.Here{}, r, options(t))
	if how != (status.Status{}) || !errors.Is(err, privilege.ErrNoPrivilege) || status.ExitCodeOf(err) != status.ExitFailure {
		t.Errorf("%+v, %v", how, err)
	}
	if p, err := Decide(here.Here{}, r); p != nil || !errors.Is(err, privilege.ErrNoPrivilege) {
		t.Errorf("%+v, %v", p, err)
	}
}

// What is wrong with a request is told before anything is looked up. (Root's test would
// write of the refusal into the machine's log.)
func TestARequestThatMakesNoSenseIsRefusedFirst(t *testing.T) {
	if !inside.AsUser(t) {
		return
	}
	for want, r := range map[string]plan.Request{
		"exclude each other":              {Image: "i", RootInside: true, User: "root"},
		"make no sense with it":           {Session: "work", Writable: true},
		"a session has its image already": {Image: "i", Session: "work"},
		"cannot be negative":              {Image: "i", OutputLimit: -1},
	} {
		how, err := Run(context.Background(), here.Here{}, r, options(t))
		if how != (status.Status{}) || err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, privilege.ErrNoPrivilege) {
			t.Errorf("%+v: %v, want %q", r, err, want)
		}
	}
}
