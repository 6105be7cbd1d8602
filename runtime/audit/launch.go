package audit

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/caller"
	"mayfly/runtime/here"
	"mayfly/runtime/plan"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/privilege"
	"mayfly/runtime/state"
	"mayfly/runtime/status"
)

// A Launch is the account of one launch for the system's log: that it begins, before
// the caller's command does, since afterwards the caller can kill who would tell of it;
// and how it ended, or why there was none.
type Launch struct {
	here    here.Here
	Facts   plan.Facts // as far as they are known
	request plan.Request
	began   time.Time
	lost    int // how many events the log did not take
}

// BeginLaunch begins the account.
func BeginLaunch(h here.Here, r plan.Request) *Launch {
	return &Launch{here: h, request: r, began: time.Now()}
}

// Refused logs that there was no launch.
func (a *Launch) Refused(why error) error {
	e := a.event(Refusal)
	e.Decision, e.Result = decision(why), why.Error()
	return a.send(e)
}

// Started logs that a command is about to be executed, in a version of this digest ("":
// it has none). An error is the caller's doing, and no reason to run it unlogged.
func (a *Launch) Started(p *plan.Plan, digest string, note func(string)) error {
	e := a.planned(Start, p)
	e.Digest = digest
	err := a.send(e)
	switch {
	case err == nil, errors.Is(err, ErrLost): // which the end tells
	case errors.Is(err, unix.EMFILE):
		return fmt.Errorf("%w: is `ulimit -n` too low?", err) // it is the caller's to say, at any moment
	default:
		note(err.Error())
	}
	return nil
}

// Ended logs how a launch ended.
func (a *Launch) Ended(p *plan.Plan, s status.Status, err error) error {
	e := a.planned(End, p)
	e.Result = result(s)
	if err != nil {
		e.Result = err.Error()
	}
	var command *status.CommandError
	var interrupted status.ErrInterrupted
	switch {
	case err == nil || errors.As(err, &command) || errors.As(err, &interrupted):
		// The container was theirs to have; what they wanted in it was not to be had.
	default:
		e.Decision = decision(err)
	}
	logged := a.send(e)
	if logged == nil && a.lost > 0 {
		return ErrLost
	}
	return logged
}

// decision tells the policy's answer from what went wrong.
func decision(err error) string {
	for _, no := range []error{rule.ErrDenied, caller.ErrNotPermitted, state.ErrTooMany} {
		if errors.Is(err, no) {
			return Refused
		}
	}
	return Failed
}

func (a *Launch) event(kind string) Event {
	f := a.Facts
	e := Event{Kind: kind, UID: f.Caller.UID, Image: a.request.Image, Session: a.request.Session, Command: a.request.Command,
		Decision: Allowed, Duration: time.Since(a.began), Lost: a.lost}
	if f.User.UID == f.Caller.UID {
		e.User = f.User.Name
	}
	if place := f.Policy.Place(); place != (rule.Place{}) {
		e.Rule = place.String()
	}
	return e
}

// planned is an event of a launch that has a plan.
func (a *Launch) planned(kind string, p *plan.Plan) Event {
	e := a.event(kind)
	e.Version, e.Container, e.Command, e.Dir = p.Root.Version, p.Container, p.Spec.Process.Args, p.Spec.Process.Cwd
	return e
}

func result(s status.Status) string {
	switch {
	case s.TimedOut:
		return "time limit"
	case s.Flooded:
		return "output limit"
	case s.Signal != 0:
		return "signal " + status.SignalName(s.Signal)
	}
	return fmt.Sprintf("exit %d", s.Code)
}

// send logs an event with root's credentials, unless the policy wants no log. A policy
// that could not be read did not say so. Without the grant nothing happened, and nothing
// can be said in root's name.
func (a *Launch) send(e Event) error {
	if privilege.Check() != nil {
		return nil
	}
	if a.Facts.Policy.Settings.Store != "" && !a.Facts.Policy.Audit {
		return nil
	}
	err := privilege.AsRoot(a.here, privilege.SetIDs, e.Send)
	if err != nil {
		a.lost++
	}
	return err
}
