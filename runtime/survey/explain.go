package survey

import (
	"fmt"

	"mayfly/runtime/access"
	"mayfly/runtime/here"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/plan"
	"mayfly/runtime/policy"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/user"
	"mayfly/runtime/user/passwd"
)

// Explain returns what the policy lets a user do with an image, and the user. who is a
// name or number; "": the caller. The error wraps rule.ErrDenied where the policy
// allows nothing.
func Explain(h here.Here, name, who string) (rule.Decision, passwd.Entry, error) {
	if err := ref.CheckName("image", name); err != nil {
		return rule.Decision{}, passwd.Entry{}, err
	}
	caller, err := access.CurrentCaller()
	if err != nil {
		return rule.Decision{}, passwd.Entry{}, err
	}
	database, err := user.Load(h)
	if err != nil {
		return rule.Decision{}, passwd.Entry{}, fmt.Errorf("read user database: %w", err)
	}
	f := finder{here: h, Facts: plan.Facts{Caller: caller}}
	if err := f.findUser(plan.Request{User: who}, database); err != nil {
		return rule.Decision{}, passwd.Entry{}, err
	}
	d, err := policy.Decide(h, name, access.PolicyCaller(f.User.UID, append([]uint32{f.User.GID}, f.Groups...), database))
	return d, f.User, err
}
