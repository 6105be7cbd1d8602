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
	"mayfly/runtime/here"
	"mayfly/runtime/inherit"
	"mayfly/runtime/policy"
	"mayfly/runtime/privilege"
)

// EntryVariable is the environment variable by which the program, executed again, asks
// its entry point for a user namespace: where the caller is not root and has no
// capability, whatever its value.
const EntryVariable = here.Variable

// A Bootstrap is what the program's entry point did before the Go runtime started.
type Bootstrap struct {
	Tried    bool   // it was to make a user namespace, with a copy of the mounts in it
	Err      error  // why the process is in none; nil also where it was not to make one
	UID, GID uint32 // the caller's ids outside, which a process cannot ask for inside
	// Mappers are the children that are to execute newuidmap(1) and newgidmap(1), in
	// this order. Without an error there are both.
	Mappers []Mapper
	// Block is the memory that a mapper fills with what it reads from its pipe. It has
	// the same address there as here (nsexec.ArgumentBlock).
	Block []byte
	// Opened are the descriptors that the entry point has opened, from 3 on, closed
	// since or not. No caller has left them open.
	Opened []int
}

// A Mapper is a child outside of the user namespace. It executes what is written to
// Line, the pipe's end that this process has, as nsexec.ArgumentBlock encodes it. It
// ends when Line is closed.
type Mapper struct{ PID, Line int }

// Arrive is called first of all, with what the entry point did. It finds out where the
// program is.
func Arrive(b Bootstrap) (here.Here, error) {
	if err := inherit.Find(b.Opened); err != nil {
		return here.Here{}, err
	}
	return here.Find()
}

// errForbidden is the policy's word, which binds nobody but us.
var errForbidden = errors.New("the policy wants no containers without a grant (unprivileged = false)")

// Enter completes the user namespace that the entry point has made, if it has: with ids,
// and with a directory of the caller's. asRoot makes the program root there where the
// caller has no ids but their own. It returns where the program is now.
func (b *Bootstrap) Enter(h here.Here, asRoot bool) (here.Here, error) {
	if !b.Tried || h.Rootless() {
		return h, nil
	}
	if b.Err == nil && !policy.Unprivileged() {
		b.Err = errForbidden
	}
	if b.Err != nil {
		return h, b.dismiss()
	}
	who, err := b.mapIDs(h, asRoot)
	if err != nil {
		return h, err
	}
	directory, err := ownDirectory(who)
	if err != nil {
		return h, err
	}
	return here.In(directory, uint32(os.Getuid()), uint32(os.Getgid()))
}

// Wanted tells whether the program is to be executed again, to be in a user namespace:
// where the caller asks for it, or has no grant at all.
func (b *Bootstrap) Wanted(h here.Here, asked bool) (bool, error) {
	uid := os.Getuid()
	switch {
	case h.Rootless():
		return false, nil
	case asked && uid == 0:
		return false, errors.New("--unprivileged is for others than root, who needs no grant")
	case uid == 0:
		return false, nil
	case b.Tried:
		return false, explainUserNamespace(b.Err)
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
