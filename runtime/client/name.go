package client

import (
	"fmt"
	"strings"

	"mayfly/runtime/access"
	"mayfly/runtime/caller"
	"mayfly/runtime/here"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/state"
	"mayfly/runtime/user"
)

// An ownedName is a container that somebody names.
type ownedName struct {
	owner   uint32
	anybody bool // root says no owner
	name    string
}

// Find finds the record. The thread must act on files as root.
func (o ownedName) Find(h here.Here) (state.Record, error) {
	if o.anybody {
		return state.FindAny(h, o.name)
	}
	return state.Find(h, o.name, o.owner)
}

// named finds out who calls, and whose container they mean by [OWNER/]NAME.
func named(h here.Here, text string) (caller caller.Caller, which ownedName, err error) {
	if caller, err = access.CurrentCaller(); err != nil {
		return caller, which, err
	}
	database, err := user.Load(h)
	if err != nil {
		return caller, which, fmt.Errorf("read user database: %w", err)
	}
	which, err = SplitOwner(database, caller, text)
	return caller, which, err
}

func unknown(name string) error {
	return fmt.Errorf("container %s: %w; `runtime ps` lists yours", name, ErrNoContainer)
}

// SplitOwner takes [OWNER/]NAME apart.
func SplitOwner(database *user.Database, c caller.Caller, text string) (ownedName, error) {
	uid, name, err := access.OwnerOf(database, c, text)
	if err != nil {
		return ownedName{}, err
	}
	return ownedName{uid, c.UID == 0 && !strings.Contains(text, "/"), name}, ref.CheckName("container", name)
}
