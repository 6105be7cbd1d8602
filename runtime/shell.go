package runtime

import (
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"mayfly/mount"
)

// shellOf is the shell that SHELL names, if the image has it: the one that the command
// is, or that runs it; else the user's, as their environment says where that passes.
func (f *Facts) shellOf(r Request) string {
	who := f.runsAs()
	if len(r.Command) > 0 && !r.Login {
		if env, err := environment(r, nil, f.Caller, f.Policy.Passes, who); err == nil {
			return value(env, "SHELL")
		}
	}
	return who.Shell
}

// findShell finds whether the image lacks that shell.
func (f *Facts) findShell(inside mount.Root, r Request) {
	shell := f.shellOf(r)
	f.NoShell = path.IsAbs(shell) && shell != plainShell && !f.covers(r, shell) && !has(inside, shell)
}

// has tells whether there is something of a name, or may be: what cannot be looked at
// is not missing.
func has(inside mount.Root, name string) bool {
	fd, err := inside.Open(name, unix.O_PATH)
	if err == nil {
		unix.Close(fd)
	}
	return err != unix.ENOENT && err != unix.ENOTDIR
}

// covers tells whether a name is on a bind, where the image does not say what is there.
func (f *Facts) covers(r Request, name string) bool {
	under := func(top string) bool { return within(name, top) }
	return slices.ContainsFunc(f.Policy.Bind, under) || slices.ContainsFunc(f.Policy.BindReadOnly, under) ||
		slices.ContainsFunc(r.Binds, func(b Bind) bool { return under(b.Destination) })
}

// setShell has SHELL name the shell that runs, or the one that there is.
func (p *Plan) setShell(r Request, f Facts) {
	shell := value(p.Spec.Process.Env, "SHELL")
	if len(r.Command) == 0 || r.Login {
		shell = p.Spec.Process.Args[0]
	}
	if f.NoShell || !path.IsAbs(shell) {
		shell = plainShell
	}
	p.Spec.Process.Env = unlessAsked(p.Spec.Process.Env, r.Env, []string{"SHELL=" + shell})
}

// withShell is an environment for another shell than the one that was to run, which is
// not there after all.
func withShell(env []string, was, is string) []string {
	env = slices.Clone(env)
	if i := slices.Index(env, "SHELL="+was); i >= 0 {
		env[i] = "SHELL=" + is
	}
	return env
}
