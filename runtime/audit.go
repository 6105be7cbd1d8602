package runtime

import (
	"errors"
	"fmt"
	"time"

	"mayfly/runtime/audit"
	"mayfly/runtime/policy"
	"mayfly/runtime/state"
)

// An Audit is the account of one launch for the system's log. One of its methods Refused
// and Ended is called once.
type Audit struct {
	Facts   Facts // as far as they are known
	request Request
	began   time.Time
}

// StartAudit begins the account.
func StartAudit(r Request) *Audit { return &Audit{request: r, began: time.Now()} }

// Refused logs that there was no launch.
func (a *Audit) Refused(why error) error {
	e := a.event()
	e.Decision, e.Result = decision(why), why.Error()
	return a.send(e)
}

// Ended logs how a launch ended.
func (a *Audit) Ended(p *Plan, s Status, err error) error {
	e := a.event()
	e.Container, e.Command, e.Result = p.Container, p.Spec.Process.Args, result(s)
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
	return a.send(e)
}

// decision tells the policy's answer from what went wrong.
func decision(err error) string {
	for _, no := range []error{policy.ErrDenied, ErrNotPermitted, state.ErrTooMany} {
		if errors.Is(err, no) {
			return audit.Refused
		}
	}
	return audit.Failed
}

func (a *Audit) event() audit.Event {
	f := a.Facts
	e := audit.Event{UID: f.Caller.UID, Image: a.request.Image, Command: a.request.Command,
		Decision: audit.Allowed, Duration: time.Since(a.began)}
	if f.User.UID == f.Caller.UID {
		e.User = f.User.Name
	}
	if place := f.Policy.Place(); place != (policy.Place{}) {
		e.Rule = place.String()
	}
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
	return raise(capSetIDs, e.Send)
}
