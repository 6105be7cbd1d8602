package plan

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"

	"mayfly/runtime/policy/rule"
)

// Resources limit what all processes of a container use together. Zero: no limit.
type Resources struct {
	Memory    int64   // bytes
	Swap      *int64  // bytes besides Memory; nil: none if Memory is limited
	Tasks     int     // processes and threads
	CPUs      float64 // processors
	CPUWeight int     // share of processor time beside others, 1 to 10000; usual is 100
	IOWeight  int     // share of disk time, in the same way
}

// none tells that there is no limit.
func (r Resources) none() bool { return r == Resources{} }

func (r Resources) check() error {
	weight := func(w int) bool { return w < 0 || w > 10000 }
	switch {
	case r.Memory < 0 || r.Swap != nil && *r.Swap < 0 || r.Tasks < 0 || r.CPUs < 0:
		return errors.New("a limit cannot be negative")
	case !(r.CPUs <= mostCPUs): // also refuses NaN
		return fmt.Errorf("--cpus %v: want a number such as 1.5", r.CPUs)
	case r.CPUs > 0 && r.CPUs < leastCPUs:
		return fmt.Errorf("--cpus %v: the kernel's least is %v", r.CPUs, leastCPUs)
	case weight(r.CPUWeight), weight(r.IOWeight):
		return errors.New("want a weight from 1 to 10000")
	}
	return nil
}

const (
	cpuPeriod = 100_000 // of a quota, in microseconds
	leastCPUs = 0.01    // the kernel takes no quota below 1 ms
	mostCPUs  = 1 << 20
)

// within returns the limits that are asked for, or those of the policy where these are
// lower or nothing is asked for.
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

// least is the lower of two limits, of which 0 is none.
func least[T int | int64 | float64](a, b T) T {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// settings returns the files of the control group and their content.
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

// keepInit moves PID 1 out of the caller's reach, if the caller could freeze its
// control group and kill the supervisor. Under systemd that takes a scope, so the
// container gets a control group.
func (p *Plan) keepInit(f Facts) {
	if !f.Delegated {
		return
	}
	p.KeepInit = true
	if p.Spec.Linux.Resources == nil {
		p.group(nil)
	}
}

// resources gives the container a control group, if it needs one. Such a container has
// no cgroup namespace. That could only be made around the group that the process is in;
// and where the hierarchy is delegated (nsdelegate) the kernel lets no process be born
// outside of its namespace's group. So /sys/fs/cgroup shows all groups inside, as it
// does outside, read-only.
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
