package runtime

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"mayfly/runtime/audit"
	"mayfly/runtime/internal/realm"
	"mayfly/runtime/user"
)

// A Change is the account, for the system's log, of a command that changes images or
// sessions: one event before it does, since who may end the process could do so in the
// moment after, and one when it has.
type Change struct {
	event audit.Event
	began time.Time
	quiet bool // the policy wants no log, or there is nothing that is the system's
}

// StartChange begins the account: kind is the command's name, image what it is about
// ("" if that is not known), command how it was called. It needs the grant, or to be
// root. That the log did not take the event is an error that stops nothing: see Ended.
func StartChange(kind, image, session string, command []string) (*Change, error) {
	c := &Change{began: time.Now(), quiet: true}
	if realm.Own() || checkPrivilege() != nil {
		return c, nil
	}
	caller, err := CurrentCaller()
	if err != nil {
		return c, err
	}
	settings, err := loadSettings(caller)
	if err == nil && !settings.Audit {
		return c, nil
	}
	c.quiet = false // a policy that cannot be read did not say that it wants none
	c.event = audit.Event{Kind: kind, UID: whoCalls(caller), Image: image, Session: session, Command: command, Decision: audit.Allowed}
	if database, err := user.Load(); err == nil {
		if entry, listed, err := database.ByID(c.event.UID); err == nil && listed {
			c.event.User = entry.Name
		}
	}
	return c, c.send()
}

// Ended logs how the command ended. Events that the log did not take are an error.
func (c *Change) Ended(err error) error {
	c.event.Result, c.event.Duration = "done", time.Since(c.began)
	if err != nil {
		c.event.Result, c.event.Decision = err.Error(), decision(err)
	}
	logged := c.send()
	if logged == nil && c.event.Lost > 0 {
		return audit.ErrLost
	}
	return logged
}

func (c *Change) send() error {
	if c.quiet {
		return nil
	}
	err := raise(capSetIDs, c.event.Send)
	if errors.Is(err, audit.ErrLost) {
		c.event.Lost++
	}
	return err
}

// callerVariable is the environment variable by which ExecuteAsRoot tells the program,
// executed again as root, who has called it.
const callerVariable = "MAYFLY_CALLER"

// whoCalls is the caller, or of root the member of the image group who has become root.
// The variable is believed of root alone, who could write anything into the log.
func whoCalls(c Caller) uint32 {
	if c.UID != 0 {
		return c.UID
	}
	uid, err := strconv.ParseUint(os.Getenv(callerVariable), 10, 32)
	if err != nil {
		return 0
	}
	return uint32(uid)
}

func tellRoot(c Caller) string { return fmt.Sprintf("%s=%d", callerVariable, c.UID) }
