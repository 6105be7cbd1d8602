package status

// Usage is what a container has used. What could not be measured is nil.
type Usage struct {
	Of         string  `json:"of"` // "container", or "command": no control group, so what it has not waited for is missing
	Wall       float64 `json:"wallSeconds"`
	User       float64 `json:"userSeconds"`
	System     float64 `json:"systemSeconds"`
	MemoryPeak *int64  `json:"memoryPeakBytes,omitempty"` // of a command: of its largest process
	Read       *int64  `json:"readBytes,omitempty"`
	Written    *int64  `json:"writtenBytes,omitempty"`
	TasksPeak  *int64  `json:"tasksPeak,omitempty"`
	OOMKills   *int64  `json:"oomKills,omitempty"`
}

// A Report is what a container has used and how its command ended, as it is written for others.
type Report struct {
	Usage
	Exit     int    `json:"exit"`
	Signal   string `json:"signal,omitempty"`
	TimedOut bool   `json:"timedOut,omitempty"`
	Flooded  bool   `json:"flooded,omitempty"`
}

// Report makes a report of a status with Used in it.
func (s Status) Report() Report {
	r := Report{Usage: *s.Used, Exit: s.ExitCode(), TimedOut: s.TimedOut, Flooded: s.Flooded}
	if s.Signal != 0 {
		r.Signal = SignalName(s.Signal)
	}
	return r
}
