package runtime

import (
	"time"

	"mayfly/nsexec"
	"mayfly/runtime/cgroup"
)

// Used is what a container has used. What could not be measured is nil.
type Used struct {
	Of         string  `json:"of"` // "container", or "command": no control group, so what it has not waited for is missing
	Wall       float64 `json:"wallSeconds"`
	User       float64 `json:"userSeconds"`
	System     float64 `json:"systemSeconds"`
	MemoryPeak *int64  `json:"memoryPeakBytes,omitempty"` // of a command: of its largest process
	Read       *int64  `json:"readBytes,omitempty"`
	Written    *int64  `json:"writtenBytes,omitempty"`
	TasksPeak  *int64  `json:"tasksPeak,omitempty"`
	OOMKills   *int64  `json:"oomKills,omitempty"`
	Exit       int     `json:"exit"`
	Signal     string  `json:"signal,omitempty"`
	TimedOut   bool    `json:"timedOut,omitempty"`
	Flooded    bool    `json:"flooded,omitempty"` // it wrote more than its limit
}

// used sums up, after everything has ended.
func (l *launch) used(s Status, began time.Time) *Used {
	u := &Used{Of: "command", Wall: time.Since(began).Seconds(), Exit: s.ExitCode(), TimedOut: s.TimedOut, Flooded: s.Flooded}
	if s.Signal != 0 {
		u.Signal = signalName(s.Signal)
	}
	switch {
	case l.root.group != nil:
		u.ofContainer(l.root.used)
	case l.Process != nil:
		u.ofCommand(l.Process)
	}
	return u
}

func (u *Used) ofContainer(g cgroup.Stats) {
	u.Of = "container"
	u.User, u.System = g.User.Seconds(), g.System.Seconds()
	u.MemoryPeak, u.TasksPeak, u.OOMKills = g.MemoryPeak, g.TasksPeak, g.OOMKills
	u.Read, u.Written = g.Read, g.Written
}

func (u *Used) ofCommand(p *nsexec.Process) {
	const kibi, block = 1024, 512 // units of getrusage(2)
	r := &p.Usage
	u.User, u.System = time.Duration(r.Utime.Nano()).Seconds(), time.Duration(r.Stime.Nano()).Seconds()
	peak, read, written := r.Maxrss*kibi, r.Inblock*block, r.Oublock*block
	u.MemoryPeak, u.Read, u.Written = &peak, &read, &written
}
