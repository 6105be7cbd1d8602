package main

import (
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"mayfly/nsexec"
)

// A limit is a resource limit that beforeGo (entry.go) raises for the program.
type limit struct {
	resource uintptr
	name     string
	callers  unix.Rlimit // as the caller had set it
}

// limits are the resource limits whose soft value would harm the launcher. beforeGo
// raises each to its hard value before the Go runtime starts, which does not survive a
// lack of memory or threads; the command gets the caller's back. (The Go runtime itself
// would raise that on open files, and give it back to nobody but the children of
// package syscall.)
var limits = [...]limit{
	{resource: unix.RLIMIT_AS, name: "RLIMIT_AS"},
	{resource: unix.RLIMIT_DATA, name: "RLIMIT_DATA"},
	{resource: unix.RLIMIT_FSIZE, name: "RLIMIT_FSIZE"},
	{resource: unix.RLIMIT_NPROC, name: "RLIMIT_NPROC"},
	openFiles: {resource: unix.RLIMIT_NOFILE, name: "RLIMIT_NOFILE"},
}

// openFiles is the place in limits of the limit on open files.
const openFiles = 4

// raised tells whether beforeGo has changed the limit.
func (l limit) raised() bool { return l.callers.Cur != l.callers.Max }

// restoreLimits gives the process the caller's limits and timer slack, for a program
// that begins as this one did. The calling thread is to execute it.
func restoreLimits() {
	_ = nsexec.SetTimerSlack(hurried.slack)
	for _, l := range limits {
		if l.raised() {
			_ = unix.Setrlimit(int(l.resource), &l.callers)
		}
	}
}

// raiseAgain takes back what restoreLimits has done, after the program has begun.
func raiseAgain() {
	if hurried.done {
		_ = nsexec.SetTimerSlack(timerSlack)
	}
	for _, l := range limits {
		if l.raised() {
			_ = unix.Setrlimit(int(l.resource), &unix.Rlimit{Cur: l.callers.Max, Max: l.callers.Max})
		}
	}
}

// callersLimits returns the raised limits, with the caller's values for the command.
func callersLimits() []specs.POSIXRlimit {
	var list []specs.POSIXRlimit
	for _, l := range limits {
		if l.raised() {
			list = append(list, specs.POSIXRlimit{Type: l.name, Soft: l.callers.Cur, Hard: l.callers.Max})
		}
	}
	return list
}
