package client

import (
	"mayfly/runtime/access"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/plan"
)

// ExecEnvironment resolves what a command that joins a container is to have besides, NAME=VALUE, or NAME with the
// caller's value. The terminal's type comes along.
func ExecEnvironment(list []string) ([]string, error) {
	return plan.Requested(append([]string{"TERM"}, list...), access.CallerEnviron())
}

// KeepsTerm tells whether such a command is to have TERM as it is: where that is asked
// for, or the caller's home describes it.
func KeepsTerm(list []string) bool {
	env := access.CallerEnviron()
	term := plan.Value(env, "TERM")
	return plan.AsksFor(list, "TERM") || plan.IsTerm(term) && plan.OwnTerm(plan.Value(env, "HOME"), term, file.IsThere)
}
