package runtime

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"mayfly/runtime/audit"
	"mayfly/runtime/control"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/state"
	"mayfly/runtime/user"
)

// ErrNoContainer means that no container of that name is running.
var ErrNoContainer = errors.New("no such container is running")

// A Container is a running one.
type Container struct {
	state.Record
	User string `json:"user"` // the owner's name, or number
	Usage
}

// Containers lists the caller's running containers, or everybody's, by name.
func Containers(everybody bool) ([]Container, error) {
	caller, err := CurrentCaller()
	if err != nil {
		return nil, err
	}
	if everybody && caller.UID != 0 {
		return nil, fmt.Errorf("containers of all users: %w", ErrNotPermitted)
	}
	var records []state.Record
	err = AsRoot(func() error {
		if everybody {
			records, err = state.ListAll()
		} else {
			records, err = state.List(caller.UID)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return describe(records)
}

func describe(records []state.Record) ([]Container, error) {
	var supervisors []int
	for _, r := range records {
		supervisors = append(supervisors, r.PID)
	}
	used, err := usages(supervisors)
	if err != nil {
		return nil, err
	}
	database, err := user.Load()
	if err != nil {
		return nil, fmt.Errorf("read user database: %w", err)
	}
	list := []Container{}
	for _, r := range records {
		list = append(list, Container{r, ownerName(database, r.UID), used[r.PID]})
	}
	slices.SortFunc(list, func(a, b Container) int {
		return strings.Compare(a.Name+"/"+a.User, b.Name+"/"+b.User)
	})
	return list, nil
}

func ownerName(database *user.Database, uid uint32) string {
	if entry, listed, err := database.ByID(uid); err == nil && listed {
		return entry.Name
	}
	return strconv.FormatUint(uint64(uid), 10)
}

// A Line is a connection to the supervisor of a running container. Its holder must Close it. Its methods are for one use.
type Line struct {
	state.Record
	Unlogged error // the system's log did not take what it was told
	conn     *control.Conn
	caller   Caller
}

// Call connects with a running container: of the caller's, by NAME; root reaches everybody's, as
// OWNER/NAME where a name is not enough. What is going to be run there (nil: nothing) is told the system's
// log. Then the process gives up every capability: nothing further needs one.
func Call(name string, command []string) (*Line, error) {
	l, err := call(name, command)
	return l, errors.Join(err, Renounce())
}

// CallAll is Call for several. Those that could be reached are returned even with an error.
func CallAll(names []string) ([]*Line, error) {
	var lines []*Line
	var errs []error
	for _, name := range names {
		l, err := call(name, nil)
		if err == nil {
			lines = append(lines, l)
		}
		errs = append(errs, err)
	}
	return lines, errors.Join(append(errs, Renounce())...)
}

func call(name string, command []string) (*Line, error) {
	caller, which, err := named(name)
	if err != nil {
		return nil, err
	}
	l := &Line{caller: caller}
	err = AsRoot(func() error { return l.dial(which) })
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

// dialWithin is how long a supervisor is called that does not answer: one that has just
// begun listens later.
const dialWithin = 10 * time.Second

func (l *Line) dial(which ownedName) error {
	var err error
	if l.Record, err = which.find(); err != nil {
		return err
	}
	l.conn, err = control.Dial(l.Socket(), dialWithin, func() bool { return state.IsAlive(l.UID, l.Name) })
	return err
}

// An ownedName is a container that somebody names.
type ownedName struct {
	owner   uint32
	anybody bool // root says no owner
	name    string
}

// find finds the record. The thread must act on files as root.
func (o ownedName) find() (state.Record, error) {
	if o.anybody {
		return state.FindAny(o.name)
	}
	return state.Find(o.name, o.owner)
}

// named finds out who calls, and whose container they mean by [OWNER/]NAME.
func named(text string) (caller Caller, which ownedName, err error) {
	if caller, err = CurrentCaller(); err != nil {
		return caller, which, err
	}
	database, err := user.Load()
	if err != nil {
		return caller, which, fmt.Errorf("read user database: %w", err)
	}
	which, err = splitOwner(database, caller, text)
	return caller, which, err
}

func unknown(name string) error {
	return fmt.Errorf("container %s: %w; `runtime ps` lists yours", name, ErrNoContainer)
}

// splitOwner takes [OWNER/]NAME apart.
func splitOwner(database *user.Database, c Caller, text string) (ownedName, error) {
	uid, name, err := ownerOf(database, c, text)
	if err != nil {
		return ownedName{}, err
	}
	return ownedName{uid, c.UID == 0 && !strings.Contains(text, "/"), name}, ref.CheckName("container", name)
}

// ownerOf takes [OWNER/]NAME apart, where only root may name another owner than themself.
func ownerOf(database *user.Database, c Caller, text string) (uid uint32, name string, err error) {
	owner, name, ok := strings.Cut(text, "/")
	if !ok {
		return c.UID, text, nil
	}
	entry, _, err := byNameOrNumber(database, owner)
	if err != nil {
		return 0, "", fmt.Errorf("owner %s: %w", owner, err)
	}
	if c.UID != 0 && c.UID != entry.UID {
		return 0, "", fmt.Errorf("what belongs to %s: %w", owner, ErrNotPermitted)
	}
	return entry.UID, name, nil
}

// Close hangs up.
func (l *Line) Close() error { return l.conn.Close() }

// replyWithin is how long a supervisor may take to answer what needs no waiting.
const replyWithin = 10 * time.Second

// ask sends a request and receives the answer.
func (l *Line) ask(q control.Request, within time.Duration, files ...int) (control.Reply, []int, error) {
	var r control.Reply
	if err := l.conn.Within(within); err != nil {
		return r, nil, err
	}
	err := l.conn.Send(q, files...)
	var received []int
	if err == nil {
		received, err = l.conn.Receive(&r)
	}
	switch {
	case err != nil:
		return r, nil, fmt.Errorf("container %s: its supervisor (process %d) does not answer: %w", l.Name, l.PID, err)
	case r.Problem != "" && r.Code == ExitNotFound, r.Problem != "" && r.Code == ExitNotExecutable:
		command, reason, _ := strings.Cut(r.Problem, ": ")
		return r, nil, &CommandError{command, reason, r.Code}
	case r.Problem != "":
		return r, nil, fmt.Errorf("container %s: %s", l.Name, r.Problem)
	}
	return r, received, nil
}

// Wait waits until the container has ended, and tells how.
func (l *Line) Wait() (Status, error) {
	r, _, err := l.ask(control.Request{Wait: true}, 0)
	if err != nil {
		return Status{}, err
	}
	return statusOf(r.Ended), nil
}

// A View is all that is known of a running container.
type View struct {
	Container
	Plan any `json:"plan"` // what it was started with
}

// Inspect describes the container.
func (l *Line) Inspect() (View, error) {
	r, _, err := l.ask(control.Request{Plan: true}, replyWithin)
	if err != nil {
		return View{}, err
	}
	list, err := describe([]state.Record{l.Record})
	if err != nil {
		return View{}, err
	}
	return View{list[0], r.Plan}, nil
}

func statusOf(e *control.Ended) Status {
	if e == nil {
		return Status{}
	}
	return Status{Code: e.Code, Signal: syscall.Signal(e.Signal), TimedOut: e.TimedOut, Flooded: e.Flooded}
}

// log tells the system's log that the caller runs something in the container, unless the policy wants no log.
func (l *Line) log(command []string) error {
	settings, err := loadSettings(l.caller)
	if err != nil || !settings.Audit {
		return err
	}
	e := audit.Event{Kind: audit.Exec, UID: l.caller.UID, Image: l.Image, Container: l.Name, Command: command, Decision: audit.Allowed, Result: "joined"}
	l.Unlogged = raise(capSetIDs, e.Send) // a log that does not listen stops nobody
	return nil
}
