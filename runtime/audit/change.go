package audit

import (
	"errors"
	"time"

	"mayfly/runtime/access"
	"mayfly/runtime/here"
	"mayfly/runtime/privilege"
	"mayfly/runtime/user"
)

// A Change is the account, for the system's log, of a command that changes images or
// sessions: one event before it does, since who may end the process could do so in the
// moment after, and one when it has.
type Change struct {
	here  here.Here
	Event Event
	began time.Time
	quiet bool // the policy wants no log, or there is nothing that is the system's
}

// BeginChange begins the account: kind is the command's name, image what it is about
// ("" if that is not known), command how it was called. It needs the grant, or to be
// root. That the log did not take the event is an error that stops nothing: see Ended.
func BeginChange(h here.Here, kind, image, session string, command []string) (*Change, error) {
	c := &Change{here: h, began: time.Now(), quiet: true}
	if h.Rootless() || privilege.Check() != nil {
		return c, nil
	}
	caller, err := access.CurrentCaller()
	if err != nil {
		return c, err
	}
	settings, err := access.Settings(h, caller)
	if err == nil && !settings.Audit {
		return c, nil
	}
	c.quiet = false // a policy that cannot be read did not say that it wants none
	c.Event = Event{Kind: kind, UID: access.WhoCalls(caller), Image: image, Session: session, Command: command, Decision: Allowed}
	if database, err := user.Load(h); err == nil {
		if entry, listed, err := database.ByID(c.Event.UID); err == nil && listed {
			c.Event.User = entry.Name
		}
	}
	return c, c.send()
}

// Ended logs how the command ended. Events that the log did not take are an error.
func (c *Change) Ended(err error) error {
	c.Event.Result, c.Event.Duration = "done", time.Since(c.began)
	if err != nil {
		c.Event.Result, c.Event.Decision = err.Error(), decision(err)
	}
	logged := c.send()
	if logged == nil && c.Event.Lost > 0 {
		return ErrLost
	}
	return logged
}

func (c *Change) send() error {
	if c.quiet {
		return nil
	}
	err := privilege.AsRoot(c.here, privilege.SetIDs, c.Event.Send)
	if errors.Is(err, ErrLost) {
		c.Event.Lost++
	}
	return err
}
