package audit

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/access"
	"mayfly/runtime/caller"
	"mayfly/runtime/here"
	"mayfly/runtime/plan"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/privilege"
	"mayfly/runtime/state"
	"mayfly/runtime/status"
)

// A Launch logs one launch: that the command begins, before it does, since the caller
// can kill this process as soon as it runs; and how it ended, or why it was refused.
type Launch struct {
	here    here.Here
	Facts   plan.Facts // as far as they are known
	request plan.Request
	began   time.Time
	lost    int // how many events were lost
}

// BeginLaunch begins the account of a launch. It logs nothing yet.
func BeginLaunch(h here.Here, r plan.Request) *Launch {
	return &Launch{here: h, request: r, began: time.Now()}
}

// Refused logs that there was no launch. The error says that the event was lost.
func (a *Launch) Refused(why error) error {
	e := a.event(Refusal)
	e.Decision, e.Result = decision(why), why.Error()
	return a.send(e)
}

// Started logs that a command is about to be executed. digest is the version's; "": it
// has none. An error ends the launch: the caller has caused that the event cannot be
// logged. note is told about other failures of the log.
func (a *Launch) Started(p *plan.Plan, digest string, note func(string)) error {
	e := a.planned(Start, p)
	e.Digest = digest
	err := a.send(e)
	switch {
	case err == nil, errors.Is(err, ErrLost): // Ended tells that it was lost
	case errors.Is(err, unix.EMFILE):
		// The caller sets this limit, and can do so at any moment.
		return fmt.Errorf("%w: is `ulimit -n` too low?", err)
	default:
		note(err.Error())
	}
	return nil
}

// Ended logs how a launch ended; err is the launch's error. It returns ErrLost if an
// earlier event was lost.
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
		// The container was allowed. What the caller wanted in it could not be had.
	default:
		e.Decision = decision(err)
	}
	logged := a.send(e)
	if logged == nil && a.lost > 0 {
		return ErrLost
	}
	return logged
}

// decision tells whether an error is a refusal or a failure.
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
	e := Event{Kind: kind, UID: access.WhoCalls(f.Caller), Image: a.request.Image, Session: a.request.Session, Command: a.request.Command,
		Decision: Allowed, Duration: time.Since(a.began), Lost: a.lost}
	switch {
	case e.UID != f.Caller.UID:
		e.User = nameOf(a.here, e.UID)
	case f.User.UID == e.UID:
		e.User = f.User.Name
	}
	if place := f.Policy.Place(); place != (rule.Place{}) {
		e.Rule = place.String()
	}
	return e
}

// planned returns an event of a launch that has a plan.
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
// that could not be read does not turn the log off. Without the grant nothing has
// happened, and no event can have root's credentials.
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
