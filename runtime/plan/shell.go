package plan

import (
	"path"
	"slices"
)

// ShellOf returns the shell that SHELL names, if the image has it. It is the shell that
// the command is or that runs the command; otherwise that of the environment, where
// SHELL passes.
func (f *Facts) ShellOf(r Request) string {
	who := f.RunsAs()
	if len(r.Command) > 0 && !r.Login {
		if env, err := Environment(r, nil, f.Caller, f.Policy.Passes, who); err == nil {
			return Value(env, "SHELL")
		}
	}
	return who.Shell
}

// Covers tells whether a name is in a bind, where the image does not tell what is
// there.
func (f *Facts) Covers(r Request, name string) bool {
	under := func(top string) bool { return Within(name, top) }
	return slices.ContainsFunc(f.Policy.Bind, under) || slices.ContainsFunc(f.Policy.BindReadOnly, under) ||
		slices.ContainsFunc(r.Binds, func(b Bind) bool { return under(b.Destination) })
}

// setShell sets SHELL to the shell that runs, or to one that the image has.
func (p *Plan) setShell(r Request, f Facts) {
	shell := Value(p.Spec.Process.Env, "SHELL")
	if len(r.Command) == 0 || r.Login {
		shell = p.Spec.Process.Args[0]
	}
	if f.NoShell || !path.IsAbs(shell) {
		shell = PlainShell
	}
	p.Spec.Process.Env = unlessAsked(p.Spec.Process.Env, r.Env, []string{"SHELL=" + shell})
}

// WithShell returns the environment with SHELL changed from one shell to another, if it
// named the first: the fallback runs, since the image lacks that shell.
func WithShell(env []string, was, is string) []string {
	env = slices.Clone(env)
	if i := slices.Index(env, "SHELL="+was); i >= 0 {
		env[i] = "SHELL=" + is
	}
	return env
}
