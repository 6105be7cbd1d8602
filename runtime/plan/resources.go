package plan

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"

	"mayfly/runtime/policy/rule"
)

// Resources bound what all processes of a container use together. Zero: no bound.
type Resources struct {
	Memory    int64   // bytes
	Swap      *int64  // bytes besides; nil: none where Memory is bounded
	Tasks     int     // processes and threads
	CPUs      float64 // processors
	CPUWeight int     // share beside others, 1 to 10000; who says nothing has 100
	IOWeight  int     // the same for disks
}

// none tells that nothing is bounded.
func (r Resources) none() bool { return r == Resources{} }

func (r Resources) check() error {
	weight := func(w int) bool { return w < 0 || w > 10000 }
	switch {
	case r.Memory < 0 || r.Swap != nil && *r.Swap < 0 || r.Tasks < 0 || r.CPUs < 0:
		return errors.New("a limit cannot be negative")
	case !(r.CPUs <= mostCPUs): // nor is NaN a number of them
		return fmt.Errorf("--cpus %v: want a number such as 1.5", r.CPUs)
	case r.CPUs > 0 && r.CPUs < leastCPUs:
		return fmt.Errorf("--cpus %v: the kernel's least is %v", r.CPUs, leastCPUs)
	case weight(r.CPUWeight), weight(r.IOWeight):
		return errors.New("want a weight from 1 to 10000")
	}
	return nil
}

const (
	cpuPeriod = 100_000 // microseconds, in which a quota is used up
	leastCPUs = 0.01    // the kernel takes no quota below a millisecond
	mostCPUs  = 1 << 20
)

// within bounds what is asked for by what the policy allows, which is what a caller has who asks for nothing.
func (r Resources) within(most rule.Limits) Resources {
	r.Memory, r.Tasks = least(r.Memory, most.Memory), least(r.Tasks, most.Tasks)
	r.CPUs = least(r.CPUs, most.CPU)
	r.CPUWeight, r.IOWeight = least(r.CPUWeight, most.CPUWeight), least(r.IOWeight, most.IOWeight)
	if most.Memory > 0 || most.Swap > 0 {
		swap := most.Swap
		if r.Swap != nil {
			swap = min(swap, *r.Swap)
		}
		r.Swap = &swap
	}
	return r
}

// least is the smaller of two bounds, of which 0 is none.
func least[T int | int64 | float64](a, b T) T {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// settings are the files of the control group and what they say.
func (r Resources) settings() map[string]string {
	set := map[string]string{}
	if r.Memory > 0 {
		set["memory.max"], set["memory.swap.max"] = strconv.FormatInt(r.Memory, 10), "0"
	}
	if r.Swap != nil {
		set["memory.swap.max"] = strconv.FormatInt(*r.Swap, 10)
	}
	if r.Tasks > 0 {
		set["pids.max"] = strconv.Itoa(r.Tasks)
	}
	if r.CPUs > 0 {
		set["cpu.max"] = fmt.Sprintf("%d %d", int64(r.CPUs*cpuPeriod), cpuPeriod)
	}
	if r.CPUWeight > 0 {
		set["cpu.weight"] = strconv.Itoa(r.CPUWeight)
	}
	if r.IOWeight > 0 {
		set["io.weight"] = strconv.Itoa(r.IOWeight)
	}
	return set
}

// keepInit has PID 1 out of the caller's reach, where they could freeze it and kill the
// supervisor. Where systemd runs there has to be a scope for that.
func (p *Plan) keepInit(f Facts) {
	if !f.Delegated {
		return
	}
	p.KeepInit = true
	if p.Spec.Linux.Resources == nil {
		p.group(nil)
	}
}

// resources gives the container a control group, if it needs one. It has no cgroup namespace then: one can only be made
// around the group that a process is in, and where the hierarchy is delegated the kernel lets nobody be born outside
// of theirs. So its /sys/fs/cgroup shows all groups, as it does to the caller, and none can be written to.
func (p *Plan) resources(r Resources) {
	settings := r.settings()
	if p.Rootless || len(settings) == 0 && !p.Measure {
		return
	}
	p.group(settings)
}

func (p *Plan) group(settings map[string]string) {
	p.Spec.Linux.Resources = &specs.LinuxResources{Unified: settings}
	p.Spec.Linux.Namespaces = slices.DeleteFunc(p.Spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool {
		return n.Type == specs.CgroupNamespace
	})
}
