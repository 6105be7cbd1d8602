package audit

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"mayfly/nsexec/inside"
	"mayfly/runtime/caller"
	"mayfly/runtime/here"
	"mayfly/runtime/plan"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/state"
	"mayfly/runtime/status"
	"mayfly/runtime/user/passwd"
)

func TestAnAnswerOfThePolicysIsToldFromWhatWentWrong(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{rule.ErrDenied, Refused}, {caller.ErrNotPermitted, Refused}, {state.ErrTooMany, Refused},
		{fmt.Errorf("--writable: %w: the rule does not let you", rule.ErrDenied), Refused},
		{errors.Join(errors.New("clean up"), state.ErrTooMany), Refused},
		{errors.New("disk full"), Failed}, {caller.ErrNoGrant, Failed}, {unix.EPERM, Failed},
	} {
		if got := decision(c.err); got != c.want {
			t.Errorf("%v: %s", c.err, got)
		}
	}
}

func TestHowACommandEndedIsOneWordOrTwo(t *testing.T) {
	for _, c := range []struct {
		end  status.End
		want string
	}{
		{status.End{}, "exit 0"}, {status.End{Code: 7}, "exit 7"}, {status.End{Signal: unix.SIGKILL}, "signal KILL"},
		{status.End{TimedOut: true, Signal: unix.SIGTERM}, "time limit"}, {status.End{Flooded: true, Code: 1}, "output limit"},
	} {
		if got := result(status.Status{End: c.end}); got != c.want {
			t.Errorf("%+v: %q", c.end, got)
		}
	}
}

func TestAnEventSaysWhoWantedWhatByWhichRule(t *testing.T) {
	a := BeginLaunch(here.Here{}, plan.Request{Image: "deb", Session: "work", Command: []string{"make"}})
	// Nothing is known yet.
	if e := a.event(Refusal); e.Kind != Refusal || e.Image != "deb" || e.Session != "work" || !slices.Equal(e.Command, []string{"make"}) || e.Rule != "" || e.Decision != Allowed || e.Duration < 0 {
		t.Errorf("%+v", e)
	}
	a.Facts = plan.Facts{Caller: caller.Caller{UID: 1000}, User: passwd.Entry{Name: "dev", UID: 1000}}
	if e := a.event(Start); e.UID != 1000 || e.User != "dev" {
		t.Errorf("%+v", e)
	}
	a.Facts.User = passwd.Entry{Name: "build", UID: 2000} // whom root has chosen is not who called
	if e := a.event(Start); e.UID != 1000 || e.User != "" {
		t.Errorf("%+v", e)
	}
	p := &plan.Plan{Container: "deb-1", Root: plan.Root{Version: 3}, Spec: specs.Spec{Process: &specs.Process{Args: []string{"/bin/zsh"}, Cwd: "/home/dev"}}}
	a.lost = 2
	if e := a.planned(End, p); e.Kind != End || e.Version != 3 || e.Container != "deb-1" || !slices.Equal(e.Command, []string{"/bin/zsh"}) || e.Dir != "/home/dev" || e.Lost != 2 {
		t.Errorf("%+v", e)
	}
}

func TestALaunchIsNotLoggedInRootsNameByOthers(t *testing.T) {
	if !inside.AsUser(t) {
		return
	}
	a := BeginLaunch(here.Here{}, plan.Request{Image: "deb"})
	p := &plan.Plan{Spec: specs.Spec{Process: &specs.Process{}}}
	note := func(text string) { t.Errorf("noted: %s", text) }
	if err := errors.Join(a.Refused(rule.ErrDenied), a.Started(p, "sha256:0f", note), a.Ended(p, status.Status{}, unix.EPERM)); err != nil || a.lost != 0 {
		t.Errorf("%v, %d events are lost", err, a.lost)
	}
	c, err := BeginChange(here.Here{}, "image create", "deb", "", []string{"image", "create"})
	if err != nil || !c.quiet {
		t.Errorf("%+v, %v", c, err)
	}
	if err := c.Ended(caller.ErrNotPermitted); err != nil || c.Event.Decision != Refused || c.Event.Result != caller.ErrNotPermitted.Error() {
		t.Errorf("%+v, %v", c.Event, err)
	}
}

func TestAChangeThatIsDoneSaysSo(t *testing.T) {
	c := &Change{quiet: true, Event: Event{Decision: Allowed}}
	if err := c.Ended(nil); err != nil || c.Event.Result != "done" || c.Event.Decision != Allowed {
		t.Errorf("%+v, %v", c.Event, err)
	}
	// What the log did not take is told at the end, where that one is taken.
	c.Event.Lost = 1
	if err := c.Ended(nil); !errors.Is(err, ErrLost) {
		t.Errorf("%v", err)
	}
}

func TestAPolicyThatWantsNoLogHasNone(t *testing.T) {
	a := BeginLaunch(here.Here{}, plan.Request{})
	a.Facts.Policy = rule.Decision{Settings: rule.Settings{Store: rule.DefaultStore, Audit: false}}
	if err := a.Refused(rule.ErrDenied); err != nil || a.lost != 0 {
		t.Errorf("%v, %d events are lost", err, a.lost)
	}
}

// The members of the image-group run some commands as root.
func TestALaunchIsTheCallersThatRootWorksFor(t *testing.T) {
	t.Setenv("MAYFLY_CALLER", "65534")
	root, dev := passwd.Entry{Name: "root"}, passwd.Entry{Name: "dev", UID: 1001}
	for _, c := range []struct {
		caller, uid uint32
		user        passwd.Entry
		name        string
	}{{0, 65534, root, "nobody"}, {1001, 1001, dev, "dev"}, {1001, 1001, root, ""}} {
		a := BeginLaunch(here.Here{}, plan.Request{})
		a.Facts.Caller, a.Facts.User = caller.Caller{UID: c.caller}, c.user
		if e := a.event(Start); e.UID != c.uid || e.User != c.name {
			t.Errorf("%d: uid %d, user %q, want %d, %q", c.caller, e.UID, e.User, c.uid, c.name)
		}
	}
}
