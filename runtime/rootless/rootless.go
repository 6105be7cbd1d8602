// Package rootless is for callers without a grant: the program runs in a user namespace of theirs, with
// a copy of the host's mounts. There it is permitted what a grant permits, over nothing but what is the
// caller's.
//
// A process with several threads, as every Go program is, cannot enter a user namespace; so the program's
// entry point makes it before the Go runtime starts, and this package completes it. Package main calls
// it before anything that the caller said is looked at.
package rootless

import (
	"errors"
	"fmt"
	"os"

	"mayfly/nsexec"
	"mayfly/runtime/inherit"
	"mayfly/runtime/internal/realm"
	"mayfly/runtime/policy"
	"mayfly/runtime/privilege"
)

// A Bootstrap is what the entry point has done.
type Bootstrap struct {
	Tried    bool  // to make a user namespace
	Err      error // why there is none
	UID, GID uint32
	Mappers  []Mapper // of users, and of groups: both, where there is no error
	Block    []byte   // what they read: it is at the same place in their memory
	Opened   []int    // descriptors, which are no caller's
}

// A Mapper is a child outside of the user namespace. It executes the ArgumentBlock that is written to its line.
type Mapper struct{ PID, Line int }

var bootstrap Bootstrap

// Arrive is called first of all.
func Arrive(b Bootstrap) error {
	bootstrap = b
	if err := inherit.Find(b.Opened); err != nil {
		return err
	}
	return realm.Arrive()
}

// errForbidden is the policy's word, which binds nobody but us.
var errForbidden = errors.New("the policy wants no containers without a grant (unprivileged = false)")

// Enter completes the user namespace that the entry point has made, if it has: with ids, and with a directory of the
// caller's. asRoot makes the program root there where the caller has no ids but their own.
func Enter(asRoot bool) error {
	if !bootstrap.Tried || realm.Own() {
		return nil
	}
	if bootstrap.Err == nil && !policy.Unprivileged() {
		bootstrap.Err = errForbidden
	}
	if bootstrap.Err != nil {
		return bootstrap.dismiss()
	}
	who, err := bootstrap.mapIDs(asRoot)
	if err != nil {
		return err
	}
	directory, err := ownDirectory(who)
	if err != nil {
		return err
	}
	return realm.Settle(directory, uint32(os.Getuid()), uint32(os.Getgid()))
}

// Wanted tells whether the program is to be executed again, to be in a user namespace: where the caller asks for it, or has no grant
// at all.
func Wanted(asked bool) (bool, error) {
	uid := os.Getuid()
	switch {
	case realm.Own():
		return false, nil
	case asked && uid == 0:
		return false, errors.New("--unprivileged is for others than root, who needs no grant")
	case uid == 0:
		return false, nil
	case bootstrap.Tried:
		return false, explainUserNamespace(bootstrap.Err)
	}
	have, err := nsexec.CurrentCapabilities()
	switch {
	case err != nil || have.Permitted != 0 && !asked: // a grant that lacks something is to be mended
		return false, err
	case !policy.Unprivileged():
		return false, fmt.Errorf("%w: %w", privilege.ErrNoPrivilege, errForbidden)
	}
	return true, nil
}
