package main

import (
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// limits are soft resource limits of the caller's that would harm the launcher. The
// entry point (entry_*.s) raises each to its hard limit before the Go runtime starts, which
// does not survive a lack of memory or threads; the command gets them back. (That on open files the Go runtime
// would raise itself, and give back to nobody but package syscall's children.)
var limits = [limitCount]limit{
	{resource: unix.RLIMIT_AS}, {resource: unix.RLIMIT_DATA}, {resource: unix.RLIMIT_FSIZE}, {resource: unix.RLIMIT_NPROC},
	{resource: unix.RLIMIT_NOFILE},
}

var limitNames = [limitCount]string{"RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_NPROC", "RLIMIT_NOFILE"}

const limitCount = 5

// A limit's layout is known to the entry point, which fills in all but the first.
type limit struct {
	resource, soft, hard uint64
	_                    [2]uint64 // what it is raised to
}

// restoreLimits gives the process the caller's limits, for a program that begins as this one did.
func restoreLimits() {
	for _, l := range limits {
		_ = unix.Setrlimit(int(l.resource), &unix.Rlimit{Cur: l.soft, Max: l.hard})
	}
}

// callersLimits returns those that the command is to get back.
func callersLimits() []specs.POSIXRlimit {
	var list []specs.POSIXRlimit
	for i, l := range limits {
		if l.soft != l.hard {
			list = append(list, specs.POSIXRlimit{Type: limitNames[i], Soft: l.soft, Hard: l.hard})
		}
	}
	return list
}
