package runtime

import (
	"errors"
	"fmt"
	"time"

	"mayfly/runtime/audit"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/state"
)

// An Audit is the account of one launch for the system's log: that it begins, before
// the caller's command does, since afterwards the caller can kill who would tell of it;
// and how it ended, or why there was none.
type Audit struct {
	Facts   Facts // as far as they are known
	request Request
	began   time.Time
	lost    int // how many events the log did not take
}

// StartAudit begins the account.
func StartAudit(r Request) *Audit { return &Audit{request: r, began: time.Now()} }

// Refused logs that there was no launch.
func (a *Audit) Refused(why error) error {
	e := a.event(audit.Refusal)
	e.Decision, e.Result = decision(why), why.Error()
	return a.send(e)
}

// Started logs that a command is about to be executed, in a version of this digest ("":
// it has none).
func (a *Audit) Started(p *Plan, digest string) error {
	e := a.planned(audit.Start, p)
	e.Digest = digest
	return a.send(e)
}

// Ended logs how a launch ended.
func (a *Audit) Ended(p *Plan, s Status, err error) error {
	e := a.planned(audit.End, p)
	e.Result = result(s)
	if err != nil {
		e.Result = err.Error()
	}
	var command *CommandError
	var interrupted ErrInterrupted
	switch {
	case err == nil || errors.As(err, &command) || errors.As(err, &interrupted):
		// The container was theirs to have; what they wanted in it was not to be had.
	default:
		e.Decision = decision(err)
	}
	logged := a.send(e)
	if logged == nil && a.lost > 0 {
		return audit.ErrLost
	}
	return logged
}

// decision tells the policy's answer from what went wrong.
func decision(err error) string {
	for _, no := range []error{rule.ErrDenied, ErrNotPermitted, state.ErrTooMany} {
		if errors.Is(err, no) {
			return audit.Refused
		}
	}
	return audit.Failed
}

func (a *Audit) event(kind string) audit.Event {
	f := a.Facts
	e := audit.Event{Kind: kind, UID: f.Caller.UID, Image: a.request.Image, Session: a.request.Session, Command: a.request.Command,
		Decision: audit.Allowed, Duration: time.Since(a.began), Lost: a.lost}
	if f.User.UID == f.Caller.UID {
		e.User = f.User.Name
	}
	if place := f.Policy.Place(); place != (rule.Place{}) {
		e.Rule = place.String()
	}
	return e
}

// planned is an event of a launch that has a plan.
func (a *Audit) planned(kind string, p *Plan) audit.Event {
	e := a.event(kind)
	e.Version, e.Container, e.Command, e.Dir = p.Version, p.Container, p.Spec.Process.Args, p.Spec.Process.Cwd
	return e
}

func result(s Status) string {
	switch {
	case s.TimedOut:
		return "time limit"
	case s.Flooded:
		return "output limit"
	case s.Signal != 0:
		return "signal " + signalName(s.Signal)
	}
	return fmt.Sprintf("exit %d", s.Code)
}

// send logs an event with root's credentials, unless the policy wants no log. A policy
// that could not be read did not say so. Without the grant nothing happened, and nothing
// can be said in root's name.
func (a *Audit) send(e audit.Event) error {
	if checkPrivilege() != nil {
		return nil
	}
	if a.Facts.Policy.Settings.Store != "" && !a.Facts.Policy.Audit {
		return nil
	}
	err := raise(capSetIDs, e.Send)
	if err != nil {
		a.lost++
	}
	return err
}
