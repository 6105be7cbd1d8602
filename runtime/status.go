package runtime

import (
	"errors"
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
	exitSignal        = 128 // plus the number of the signal that ended the command
)

// A Status is how a command ended.
type Status struct {
	Code     int            // exit code, when no signal ended it
	Signal   syscall.Signal // that ended it, or 0
	TimedOut bool
	Flooded  bool  // it wrote more than its limit
	Used     *Used // nil: was not asked for
	// OutOfMemory is how many processes the kernel has killed at the container's limit of memory.
	OutOfMemory int64
}

func newStatus(ws syscall.WaitStatus) Status {
	if ws.Signaled() {
		return Status{Signal: ws.Signal()}
	}
	return Status{Code: ws.ExitStatus()}
}

// ExitCode is what a shell would see.
func (s Status) ExitCode() int {
	switch {
	case s.TimedOut, s.Flooded:
		return ExitTimeout
	case s.Signal != 0:
		return exitSignal + int(s.Signal)
	}
	return s.Code
}

// String tells it in the words of nspawn-run.
func (s Status) String() string {
	switch {
	case s.TimedOut:
		return "ended at its time limit"
	case s.Flooded:
		return "ended at its output limit"
	case s.Signal != 0:
		return "terminated by signal " + signalName(s.Signal)
	case s.Code != 0:
		return "failed with error code " + strconv.Itoa(s.Code)
	}
	return "exited successfully"
}

func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); len(name) > 3 {
		return name[3:]
	}
	return strconv.Itoa(int(s))
}

// A CommandError means that the command could not be started.
type CommandError struct {
	Command string
	Reason  string
	Code    int // ExitNotFound or ExitNotExecutable
}

func (e *CommandError) Error() string { return e.Command + ": " + e.Reason }

// ErrInterrupted means that a signal came before the command was started.
type ErrInterrupted struct{ Signal syscall.Signal }

func (e ErrInterrupted) Error() string { return "interrupted by " + unix.SignalName(e.Signal) }

// ExitCodeOf is the exit status of runtime for an error of this package.
func ExitCodeOf(err error) int {
	var command *CommandError
	if errors.As(err, &command) {
		return command.Code
	}
	var interrupted ErrInterrupted
	if errors.As(err, &interrupted) {
		return exitSignal + int(interrupted.Signal)
	}
	return ExitFailure
}
