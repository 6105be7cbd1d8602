package plan

import (
	"path"
	"slices"
)

// ShellOf is the shell that SHELL names, if the image has it: the one that the command
// is, or that runs it; else the user's, as their environment says where that passes.
func (f *Facts) ShellOf(r Request) string {
	who := f.RunsAs()
	if len(r.Command) > 0 && !r.Login {
		if env, err := Environment(r, nil, f.Caller, f.Policy.Passes, who); err == nil {
			return Value(env, "SHELL")
		}
	}
	return who.Shell
}

// Covers tells whether a name is on a bind, where the image does not say what is there.
func (f *Facts) Covers(r Request, name string) bool {
	under := func(top string) bool { return Within(name, top) }
	return slices.ContainsFunc(f.Policy.Bind, under) || slices.ContainsFunc(f.Policy.BindReadOnly, under) ||
		slices.ContainsFunc(r.Binds, func(b Bind) bool { return under(b.Destination) })
}

// setShell has SHELL name the shell that runs, or the one that there is.
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

// WithShell is an environment for another shell than the one that was to run, which is
// not there after all.
func WithShell(env []string, was, is string) []string {
	env = slices.Clone(env)
	if i := slices.Index(env, "SHELL="+was); i >= 0 {
		env[i] = "SHELL=" + is
	}
	return env
}
