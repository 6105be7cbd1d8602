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

// An ownedName names a container and its owner.
type ownedName struct {
	owner   uint32
	anybody bool // root has named no owner
	name    string
}

// Find finds the container's record; the error is state.ErrUnknown if there is none.
// The thread must act on files as root.
func (o ownedName) Find(h here.Here) (state.Record, error) {
	if o.anybody {
		return state.FindAny(h, o.name)
	}
	return state.Find(h, o.name, o.owner)
}

// named returns the caller, and the container that they mean by [OWNER/]NAME.
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

// SplitOwner reads [OWNER/]NAME. Only root may name another owner than themself.
func SplitOwner(database *user.Database, c caller.Caller, text string) (ownedName, error) {
	uid, name, err := access.OwnerOf(database, c, text)
	if err != nil {
		return ownedName{}, err
	}
	return ownedName{uid, c.UID == 0 && !strings.Contains(text, "/"), name}, ref.CheckName("container", name)
}
