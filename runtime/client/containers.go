// Package client is the caller's end of a running container: it lists, inspects and
// kills containers, waits for them, and runs other commands in them.
//
// Package main calls it, and survey and launch do for a network that is shared. It
// finds a container by its record, acting on files as root for that moment, and speaks
// to the supervisor through package control. It enters no namespace.
package client

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"mayfly/runtime/access"
	"mayfly/runtime/control"
	"mayfly/runtime/here"
	"mayfly/runtime/state"
	"mayfly/runtime/user"
)

// ErrNoContainer means that no container of that name is running.
var ErrNoContainer = errors.New("no such container is running")

// A Container is a running container and what it uses.
type Container struct {
	state.Record
	User string `json:"user"` // the owner's name, or number
	Activity
}

// Containers lists the caller's running containers, or those of everybody, sorted by
// name. Only root may list everybody's: the error wraps caller.ErrNotPermitted
// otherwise.
func Containers(h here.Here, everybody bool) ([]Container, error) {
	who, err := access.Lister(everybody, "containers")
	if err != nil {
		return nil, err
	}
	var records []state.Record
	err = access.AsRoot(h, func() error {
		if everybody {
			records, err = state.ListAll(h)
		} else {
			records, err = state.List(h, who.UID)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return describe(h, records)
}

func describe(h here.Here, records []state.Record) ([]Container, error) {
	var supervisors []int
	for _, r := range records {
		supervisors = append(supervisors, r.PID)
	}
	used, err := usages(supervisors)
	if err != nil {
		return nil, err
	}
	database, err := user.Load(h)
	if err != nil {
		return nil, fmt.Errorf("read user database: %w", err)
	}
	list := []Container{}
	for _, r := range records {
		list = append(list, Container{r, access.OwnerName(database, r.UID), used[r.PID]})
	}
	slices.SortFunc(list, func(a, b Container) int {
		return strings.Compare(a.Name+"/"+a.User, b.Name+"/"+b.User)
	})
	return list, nil
}

// A View is all that is known of a running container.
type View struct {
	Container
	Plan any `json:"plan"` // the plan.Plan that it was started with
}

// Inspect asks the supervisor for the plan and describes the container.
func (l *Conn) Inspect() (View, error) {
	r, _, err := l.ask(control.Request{Plan: true}, replyWithin)
	if err != nil {
		return View{}, err
	}
	list, err := describe(l.here, []state.Record{l.Record})
	if err != nil {
		return View{}, err
	}
	return View{list[0], r.Plan}, nil
}
