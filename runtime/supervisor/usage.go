package supervisor

import (
	"time"

	"mayfly/nsexec"
	"mayfly/runtime/cgroup"
	"mayfly/runtime/status"
)

// used returns what the container has used, after everything has ended.
func (s *supervisor) used(began time.Time) *status.Usage {
	u := &status.Usage{Of: "command", Wall: time.Since(began).Seconds()}
	switch {
	case s.root.group != nil:
		ofContainer(u, s.root.used)
	case s.Process != nil:
		ofCommand(u, s.Process)
	}
	return u
}

func ofContainer(u *status.Usage, g cgroup.Stats) {
	u.Of = "container"
	u.User, u.System = g.User.Seconds(), g.System.Seconds()
	u.MemoryPeak, u.TasksPeak, u.OOMKills = g.MemoryPeak, g.TasksPeak, g.OOMKills
	u.Read, u.Written = g.Read, g.Written
}

func ofCommand(u *status.Usage, p *nsexec.Process) {
	const kibi, block = 1024, 512 // bytes in the units of getrusage(2)
	r := &p.Usage
	u.User, u.System = time.Duration(r.Utime.Nano()).Seconds(), time.Duration(r.Stime.Nano()).Seconds()
	peak, read, written := r.Maxrss*kibi, r.Inblock*block, r.Oublock*block
	u.MemoryPeak, u.Read, u.Written = &peak, &read, &written
}
