package status

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Status tells how a command ended, and what is known besides.
type Status struct {
	End
	Used *Usage // nil: it was not asked for
	// OutOfMemory is how many processes the kernel has killed at the container's memory
	// limit.
	OutOfMemory int64
}

// A CommandError means that the command was not found or cannot be executed.
type CommandError struct {
	Command string
	Reason  string
	Code    int // ExitNotFound or ExitNotExecutable
}

func (e *CommandError) Error() string { return e.Command + ": " + e.Reason }

// ErrInterrupted means that a signal came before the command was started.
type ErrInterrupted struct{ Signal syscall.Signal }

func (e ErrInterrupted) Error() string { return "interrupted by " + unix.SignalName(e.Signal) }

// ExitCodeOf returns the exit status for an error: that of a CommandError or
// ErrInterrupted, else ExitFailure.
func ExitCodeOf(err error) int {
	var command *CommandError
	if errors.As(err, &command) {
		return command.Code
	}
	var interrupted ErrInterrupted
	if errors.As(err, &interrupted) {
		return ExitSignal + int(interrupted.Signal)
	}
	return ExitFailure
}
