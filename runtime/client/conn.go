package client

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"mayfly/runtime/access"
	"mayfly/runtime/audit"
	"mayfly/runtime/caller"
	"mayfly/runtime/control"
	"mayfly/runtime/here"
	"mayfly/runtime/privilege"
	"mayfly/runtime/state"
	"mayfly/runtime/status"
)

// A Conn is a connection to the supervisor of a running container. Its holder must
// Close it. It serves one request: one call of one of its methods.
type Conn struct {
	here here.Here
	state.Record
	Unlogged error // why the system's log did not take the event; nil: it did
	conn     *control.Conn
	caller   caller.Caller
}

// Call connects to a running container. NAME is one of the caller's; root reaches
// everybody's, as OWNER/NAME if several have the name. command is what will be run
// there, for the system's log; nil: nothing. Then the process gives up every
// capability, since nothing further needs one. The caller must Close the Conn. The
// error wraps ErrNoContainer where there is none.
func Call(h here.Here, name string, command []string) (*Conn, error) {
	l, err := call(h, name, command)
	return l, errors.Join(err, privilege.Renounce())
}

// CallAll is Call for several containers. It returns the Conns to those that it has
// reached even with an error.
func CallAll(h here.Here, names []string) ([]*Conn, error) {
	var lines []*Conn
	var errs []error
	for _, name := range names {
		l, err := call(h, name, nil)
		if err == nil {
			lines = append(lines, l)
		}
		errs = append(errs, err)
	}
	return lines, errors.Join(append(errs, privilege.Renounce())...)
}

func call(h here.Here, name string, command []string) (*Conn, error) {
	caller, which, err := named(h, name)
	if err != nil {
		return nil, err
	}
	l := &Conn{here: h, caller: caller}
	err = access.AsRoot(h, func() error { return l.dial(which) })
	switch {
	case errors.Is(err, state.ErrUnknown):
		return nil, unknown(name)
	case err != nil:
		return nil, fmt.Errorf("container %s: call its supervisor (process %d): %w", name, l.PID, err)
	}
	if command != nil {
		err = l.log(command)
	}
	return l, err
}

// dialWithin is how long a supervisor may take to accept a connection: one that has
// just begun does not listen yet.
const dialWithin = 10 * time.Second

func (l *Conn) dial(which ownedName) error {
	var err error
	if l.Record, err = which.Find(l.here); err != nil {
		return err
	}
	l.conn, err = control.Dial(l.Socket(l.here), dialWithin, func() bool { return state.IsAlive(l.here, l.UID, l.Name) })
	return err
}

// Close closes the connection.
func (l *Conn) Close() error { return l.conn.Close() }

// replyWithin is how long a supervisor may take to answer a request that waits for
// nothing.
const replyWithin = 10 * time.Second

// ask sends a request and receives the answer. within 0 means no limit. The caller owns
// the descriptors that it returns; files stay the caller's.
func (l *Conn) ask(q control.Request, within time.Duration, files ...int) (control.Reply, []int, error) {
	var r control.Reply
	l.conn.Within(within)
	err := l.conn.Send(q, files...)
	var received []int
	if err == nil {
		received, err = l.conn.Receive(&r)
	}
	switch {
	case err != nil:
		return r, nil, fmt.Errorf("container %s: its supervisor (process %d) does not answer: %w", l.Name, l.PID, err)
	case r.Problem != "" && r.Code == status.ExitNotFound, r.Problem != "" && r.Code == status.ExitNotExecutable:
		command, reason, _ := strings.Cut(r.Problem, ": ")
		return r, nil, &status.CommandError{Command: command, Reason: reason, Code: r.Code}
	case r.Problem != "":
		return r, nil, fmt.Errorf("container %s: %s", l.Name, r.Problem)
	}
	return r, received, nil
}

// Wait waits until the container has ended, and tells how its command did.
func (l *Conn) Wait() (status.Status, error) {
	r, _, err := l.ask(control.Request{Wait: true}, 0)
	if err != nil {
		return status.Status{}, err
	}
	return statusOf(r.Ended), nil
}

func statusOf(e *status.End) status.Status {
	if e == nil {
		return status.Status{}
	}
	return status.Status{End: *e}
}

// log tells the system's log that the caller runs something in the container, unless
// the policy wants no log.
func (l *Conn) log(command []string) error {
	settings, err := access.Settings(l.here, l.caller)
	if err != nil || !settings.Audit {
		return err
	}
	e := audit.Event{Kind: audit.Exec, UID: l.caller.UID, Image: l.Image, Container: l.Name, Command: command, Decision: audit.Allowed, Result: "joined"}
	l.Unlogged = privilege.AsRoot(l.here, privilege.SetIDs, e.Send) // a log that does not listen stops nobody
	return nil
}
