package status

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

// A Report is a Usage with the end of the command, as it is written for programs to
// read.
type Report struct {
	Usage
	Exit     int    `json:"exit"`
	Signal   string `json:"signal,omitempty"`
	TimedOut bool   `json:"timedOut,omitempty"`
	Flooded  bool   `json:"flooded,omitempty"`
}

// Report returns the report of a Status, whose Used must not be nil.
func (s Status) Report() Report {
	r := Report{Usage: *s.Used, Exit: s.ExitCode(), TimedOut: s.TimedOut, Flooded: s.Flooded}
	if s.Signal != 0 {
		r.Signal = SignalName(s.Signal)
	}
	return r
}
