package runtime

import (
	"errors"
	"fmt"
	"time"

	"mayfly/runtime/image/ref"
	"mayfly/runtime/policy"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/user"
	"mayfly/runtime/user/passwd"
)

// decide asks the policy, whose files may be for root's eyes only.
func decide(name string, c Caller, database *user.Database) (d rule.Decision, err error) {
	who := policyCaller(c.UID, append([]uint32{c.GID}, c.Groups...), database)
	err = asRoot(c, noCapability, func() error {
		d, err = policy.Decide(name, who)
		return err
	})
	return d, err
}

// loadSettings reads what the policy says for everything, in the same way.
func loadSettings(c Caller) (settings rule.Settings, err error) {
	err = asRoot(c, noCapability, func() error {
		settings, err = policy.LoadSettings()
		return err
	})
	return settings, err
}

// policyCaller is a user as the policy wants to know them.
func policyCaller(uid uint32, gids []uint32, database *user.Database) rule.Caller {
	return rule.Caller{UID: uid, GIDs: gids,
		UserID: func(name string) (uint32, bool, error) {
			entry, _, err := database.ByName(name)
			if errors.Is(err, passwd.ErrUnknown) {
				return 0, false, nil
			}
			return entry.UID, err == nil, err
		},
		GroupID: func(name string) (uint32, bool, error) {
			gid, err := database.GroupByName(name)
			if errors.Is(err, passwd.ErrUnknownGroup) {
				return 0, false, nil
			}
			return gid, err == nil, err
		}}
}

// Explain tells what a user, by name or number ("": the caller), may do with an image. The
// error is policy.ErrDenied where that is nothing.
func Explain(name, who string) (rule.Decision, passwd.Entry, error) {
	if err := ref.CheckName("image", name); err != nil {
		return rule.Decision{}, passwd.Entry{}, err
	}
	caller, err := CurrentCaller()
	if err != nil {
		return rule.Decision{}, passwd.Entry{}, err
	}
	database, err := user.Load()
	if err != nil {
		return rule.Decision{}, passwd.Entry{}, fmt.Errorf("read user database: %w", err)
	}
	f := Facts{Caller: caller}
	if err := f.findUser(Request{User: who}, database); err != nil {
		return rule.Decision{}, passwd.Entry{}, err
	}
	d, err := policy.Decide(name, policyCaller(f.User.UID, append([]uint32{f.User.GID}, f.Groups...), database))
	return d, f.User, err
}

// permitted refuses what the policy's rule does not let a caller ask for.
func permitted(r Request, d rule.Decision) error {
	refuse := func(what string) error {
		return fmt.Errorf("%s: %w: the rule at %s does not let you", what, rule.ErrDenied, d.Place())
	}
	if d.Unbound {
		return nil
	}
	switch {
	case r.Writable && !d.Writable:
		return refuse("--writable")
	case r.Session != "" && !d.Writable:
		return refuse("--session, which is writable")
	case r.RootInside && !d.RootInside:
		return refuse("--root")
	case r.EnvAll && !d.EnvAll:
		return refuse("--env-all")
	case r.Personality != "" && d.Personality != "" && r.Personality != d.Personality:
		return refuse("--personality " + r.Personality)
	}
	for _, b := range r.Binds {
		if len(d.AllowBind) == 0 && (!b.ReadOnly || len(d.AllowBindReadOnly) == 0) {
			return refuse(fmt.Sprintf("bind %q", b.Source))
		}
	}
	return nil
}

// bound takes over the bounds that the rule sets. Root has none but those that they ask for.
func (p *Plan) bound(asked Resources, d rule.Decision) {
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
	// mostKillAfter bounds how long a command is given to end when its time is over, where
	// the policy limits that.
	mostKillAfter = 10 * time.Second
	// grace is how much later PID 1 ends the container by itself: the supervisor, which
	// does it more gently, can be stopped by the caller.
	grace = 5 * time.Second
)

// atMost is when the container has ended at the latest, 0 for no limit.
func (p *Plan) atMost() time.Duration {
	if p.Timeout == 0 {
		return 0
	}
	return p.Timeout + p.KillAfter + grace
}
