package audit

import (
	"errors"
	"time"

	"mayfly/runtime/access"
	"mayfly/runtime/here"
	"mayfly/runtime/privilege"
	"mayfly/runtime/user"
)

// A Change logs a command that changes images or sessions: one event before the change,
// since the caller could kill the process right after it, and one when it is done.
type Change struct {
	here  here.Here
	Event Event
	began time.Time
	quiet bool // the policy wants no log, or the change is no concern of the system's
}

// BeginChange logs that a change begins. kind is the command's name, image what it
// changes ("": not known), command its command line. It needs the grant or root;
// without them, and in a rootless program, nothing is logged. The Change is valid even
// with an error, which says that the event was lost and is no reason to stop.
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
	c.quiet = false // a policy that cannot be read does not turn the log off
	c.Event = Event{Kind: kind, UID: access.WhoCalls(caller), Image: image, Session: session, Command: command, Decision: Allowed}
	c.Event.User = nameOf(h, c.Event.UID)
	return c, c.send()
}

// nameOf returns the name of a user, or "" where it is not to be had.
func nameOf(h here.Here, uid uint32) string {
	database, err := user.Load(h)
	if err != nil {
		return ""
	}
	entry, listed, err := database.ByID(uid)
	if err != nil || !listed {
		return ""
	}
	return entry.Name
}

// Ended logs how the change ended; err is the change's error. It returns an error if an
// event of the change was lost.
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
