package plan

import (
	"fmt"
	"strings"
	"time"

	"mayfly/runtime/policy/rule"
)

// Permitted returns an error that wraps rule.ErrDenied if the request asks for
// something that the rule does not allow.
func Permitted(r Request, d rule.Decision) error {
	refuse := func(what, allows string) error {
		return fmt.Errorf("%s: %w: %s %s", what, rule.ErrDenied, d.Place(), allows)
	}
	if d.Unbound {
		return nil
	}
	switch {
	case r.Writable && !d.Writable:
		return refuse("--writable", "does not set writable")
	case r.Session != "" && !d.Writable:
		return refuse("--session", "does not set writable")
	case r.RootInside && !d.RootInside:
		return refuse("--root", "does not set root-inside")
	case r.EnvAll && !d.EnvAll:
		return refuse("--env-all", "does not set env-all")
	case r.Personality != "" && d.Personality != "" && r.Personality != d.Personality:
		return refuse("--personality "+r.Personality, "allows "+d.Personality+" only")
	}
	for _, b := range r.Binds {
		switch {
		case b.mayBeAsked(d):
		case len(d.AllowBindReadOnly) > 0:
			return refuse(fmt.Sprintf("--bind %q", b.Source), "allows only --bind-ro, below "+strings.Join(d.AllowBindReadOnly, ", "))
		default:
			return refuse(fmt.Sprintf("bind %q", b.Source), "allows neither --bind nor --bind-ro")
		}
	}
	return nil
}

// bound takes over the rule's limits. Root has only the limits that root asks for.
func (p *Plan) applyLimits(asked Resources, d rule.Decision) {
	p.Devices = d.Devices
	p.BindFrom, p.BindReadOnlyFrom = d.AllowBind, d.AllowBindReadOnly
	if d.Unbound {
		p.BindFrom = []string{"/"}
		p.resources(asked)
		return
	}
	p.resources(asked.within(d.Limits))
	p.Containers = d.Limits.Containers
	if most := d.Limits.Time; most > 0 {
		if p.Timeout == 0 || p.Timeout > most {
			p.Timeout = most
		}
		p.KillAfter = min(p.KillAfter, mostKillAfter)
	}
}

const (
	// mostKillAfter bounds KillAfter where the policy limits the time.
	mostKillAfter = 10 * time.Second
	// grace is how much later PID 1 ends the container by itself. The supervisor ends
	// it more gently, but the caller can stop the supervisor.
	grace = 5 * time.Second
)

// AtMost is how long PID 1 lets the container live; 0: no limit.
func (p *Plan) AtMost() time.Duration {
	if p.Timeout == 0 {
		return 0
	}
	return p.Timeout + p.KillAfter + grace
}
