package client

import (
	"mayfly/runtime/access"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/plan"
)

// ExecEnvironment resolves the variables that a command which joins a container gets
// besides: NAME=VALUE, or NAME with the caller's value. TERM is always among them.
func ExecEnvironment(list []string) ([]string, error) {
	return plan.Requested(append([]string{"TERM"}, list...), access.CallerEnviron())
}

// KeepsTerm tells whether such a command gets TERM unchanged: the request sets it, or
// the caller's home describes it.
func KeepsTerm(list []string) bool {
	env := access.CallerEnviron()
	term := plan.Value(env, "TERM")
	return plan.AsksFor(list, "TERM") || plan.IsTerm(term) && plan.OwnTerm(plan.Value(env, "HOME"), term, file.IsThere)
}
