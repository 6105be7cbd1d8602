// Package rootless is for callers without a grant. It runs the program in a user
// namespace of the caller's, with a copy of the host's mounts. The program is permitted
// there what a grant permits, over the caller's own files and processes only.
//
// unshare(2) makes a user namespace only for a process with one thread, and every Go
// program has several. So the program's entry point makes it before the Go runtime
// starts, and this package gives it its ids. Package main calls Arrive first of all,
// Enter before it parses flags, and Wanted and ExecuteAgain after that.
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

// Arrive takes the entry point's result, and finds out which descriptors the program
// was started with and whether it is in a user namespace already. It is called first of
// all, before anything opens a descriptor.
func Arrive(b Bootstrap) (here.Here, error) {
	if err := inherit.Find(b.Opened); err != nil {
		return here.Here{}, err
	}
	return here.Find()
}

// errForbidden means that the policy wants no rootless containers. It binds this
// program only: the caller may make a user namespace with any other.
var errForbidden = errors.New("the policy wants no containers without a grant (unprivileged = false)")

// Enter completes the user namespace that the entry point has made: it maps ids, and
// finds the directory for the caller's own images. Without such a namespace it does
// nothing. With asRoot, and without subordinate ids, the caller's id is mapped as
// root's.
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

// Wanted tells whether the program has to execute itself again to be in a user
// namespace: the caller asked for it (--unprivileged), or has no grant. The error says
// why there is no user namespace, or that the policy or root's own id forbids it.
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
	// An incomplete grant is an error of its own, see privilege.Check.
	case err != nil || have.Permitted != 0 && !asked:
		return false, err
	case !policy.Unprivileged():
		return false, fmt.Errorf("%w: %w", privilege.ErrNoPrivilege, errForbidden)
	}
	return true, nil
}
