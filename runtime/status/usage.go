package status

import (
	"errors"
	"time"
)

// A Usage is what a container has used. What could not be measured is nil.
type Usage struct {
	// Of is "container"; or "command" if there was no control group: then processes
	// that the command has not waited for are not counted.
	Of     string  `json:"of"`
	Wall   float64 `json:"wallSeconds"`
	User   float64 `json:"userSeconds"`
	System float64 `json:"systemSeconds"`
	// MemoryPeak of a "command" is that of its largest process.
	MemoryPeak *int64 `json:"memoryPeakBytes,omitempty"`
	Read       *int64 `json:"readBytes,omitempty"`
	Written    *int64 `json:"writtenBytes,omitempty"`
	TasksPeak  *int64 `json:"tasksPeak,omitempty"`
	OOMKills   *int64 `json:"oomKills,omitempty"`
}

// The reasons of a Report: why the exit status is what it is.
const (
	ByCommand     = "command"        // the command ran and ended, by itself or by a signal
	ByTime        = "timeout"        // it was ended at its limit of time
	ByOutput      = "output-limit"   // it was ended at its limit of output
	NotFound      = "not-found"      // the command was not found
	NotExecutable = "not-executable" // it cannot be executed
	Interrupted   = "interrupted"    // a signal came before the command was started
	Refused       = "refused"        // the policy does not let the caller do this
	Busy          = "busy"           // the caller runs as many containers as the policy lets
	ImageUnknown  = "image-unknown"  // there is no such image or version
	Machine       = "machine"        // anything else: what was asked for, or the machine
)

// A Report tells of a run as it is written for programs to read, whatever happened.
type Report struct {
	*Usage          // nil: it was not measured, or nothing ran
	Reason   string `json:"reason"`
	Exit     int    `json:"exit"`
	Error    string `json:"error,omitempty"`
	Signal   string `json:"signal,omitempty"`
	TimedOut bool   `json:"timedOut,omitempty"`
	Flooded  bool   `json:"flooded,omitempty"`
	// What was run, as far as it was decided.
	Image     string    `json:"image,omitempty"`
	Version   int       `json:"version,omitempty"`
	Digest    string    `json:"digest,omitempty"` // of the version
	Session   string    `json:"session,omitempty"`
	Container string    `json:"container,omitempty"`
	Command   []string  `json:"command"`
	Began     time.Time `json:"began"`
	Ended     time.Time `json:"ended"`
}

// ReportOf returns the report of a Status and of the launch's error, as far as they
// tell. An error that is of none of this package's kinds is Machine's.
func ReportOf(s Status, err error) Report {
	r := Report{Usage: s.Used, Reason: ByCommand, Exit: s.ExitCode(), TimedOut: s.TimedOut, Flooded: s.Flooded}
	if s.Signal != 0 {
		r.Signal = SignalName(s.Signal)
	}
	var command *CommandError
	switch {
	case errors.As(err, &command) && command.Code == ExitNotFound:
		r.Reason = NotFound
	case command != nil:
		r.Reason = NotExecutable
	case errors.As(err, new(ErrInterrupted)):
		r.Reason = Interrupted
	case err != nil:
		r.Reason = Machine
	case s.TimedOut:
		r.Reason = ByTime
	case s.Flooded:
		r.Reason = ByOutput
	}
	if err != nil {
		r.Exit, r.Error = ExitCodeOf(err), err.Error()
	}
	return r
}
