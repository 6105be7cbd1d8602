package access

import (
	"errors"

	"mayfly/runtime/caller"
	"mayfly/runtime/here"
	"mayfly/runtime/policy"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/privilege"
	"mayfly/runtime/user"
	"mayfly/runtime/user/passwd"
)

// Decide returns what the policy lets the caller do with an image. It reads the
// policy's files as root, since they may be closed to the caller. The error wraps
// rule.ErrDenied where no rule allows anything.
func Decide(h here.Here, name string, c caller.Caller, database *user.Database) (d rule.Decision, err error) {
	who := PolicyCaller(c.UID, append([]uint32{c.GID}, c.Groups...), database)
	err = privilege.AsRoot(h, privilege.None, func() error {
		d, err = policy.Decide(h, name, who)
		return err
	})
	return d, err
}

// Settings reads the policy's settings, in the same way.
func Settings(h here.Here, c caller.Caller) (settings rule.Settings, err error) {
	err = privilege.AsRoot(h, privilege.None, func() error {
		settings, err = policy.LoadSettings(h)
		return err
	})
	return settings, err
}

// PolicyCaller describes a user to the policy, with functions that look up names in the
// database.
func PolicyCaller(uid uint32, gids []uint32, database *user.Database) rule.Caller {
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
