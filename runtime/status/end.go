// Package status tells how a command ended, and which exit status that is. It also has
// the errors that have an exit status of their own. It is a leaf: it imports nothing of
// the project.
package status

import (
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Exit statuses of the runtime command itself; everything else is the command's own.
const (
	ExitTimeout       = 124 // the limit of time or output was reached
	ExitFailure       = 125 // Mayfly failed
	ExitNotExecutable = 126 // the command was found and cannot be executed
	ExitNotFound      = 127 // the command was not found
	ExitSignal        = 128 // plus the number of the signal that ended the command
)

// An End is how a command ended.
type End struct {
	Code     int            `json:"code"`             // 0 if a signal ended it
	Signal   syscall.Signal `json:"signal,omitempty"` // 0: no signal ended it
	TimedOut bool           `json:"timedOut,omitempty"`
	Flooded  bool           `json:"flooded,omitempty"` // it wrote more than its limit
}

// EndOf reads a wait status of a process that has ended. TimedOut and Flooded are the
// caller's to set.
func EndOf(ws syscall.WaitStatus) End {
	if ws.Signaled() {
		return End{Signal: ws.Signal()}
	}
	return End{Code: ws.ExitStatus()}
}

// ExitCode is the exit status for a shell.
func (s End) ExitCode() int {
	switch {
	case s.TimedOut, s.Flooded:
		return ExitTimeout
	case s.Signal != 0:
		return ExitSignal + int(s.Signal)
	}
	return s.Code
}

// String describes the end in the words of nspawn-run.
func (s End) String() string {
	switch {
	case s.TimedOut:
		return "ended at its time limit"
	case s.Flooded:
		return "ended at its output limit"
	case s.Signal != 0:
		return "terminated by signal " + SignalName(s.Signal)
	case s.Code != 0:
		return "failed with error code " + strconv.Itoa(s.Code)
	}
	return "exited successfully"
}

// SignalName returns a signal's name without SIG, or its number.
func SignalName(s syscall.Signal) string {
	if name := unix.SignalName(s); len(name) > 3 {
		return name[3:]
	}
	return strconv.Itoa(int(s))
}
