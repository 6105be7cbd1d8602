package plan

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"mayfly/personality/arch"
	"mayfly/runtime/caller"
)

func (p *Plan) process(r Request, f Facts) error {
	who := f.RunsAs()
	env, err := Environment(r, f.ImageEnv, f.Caller, f.Policy.Passes, who)
	if err != nil {
		return err
	}
	if f.RootInside != nil {
		env = unlessAsked(env, r.Env, f.whoIsRoot())
	}
	home := f.ChosenHome(r)
	if home.value != "" { // of a HOME that the request does not set
		env = unlessAsked(env, r.Env, []string{"HOME=" + home.value})
	}
	if home.Note != "" {
		p.note(home.Note)
	}
	p.Spec.Process = &specs.Process{
		Terminal:        r.wantsTerminal(f.Caller),
		User:            specs.User{UID: who.UID, GID: who.GID, AdditionalGids: p.groups(f)},
		Env:             env,
		Capabilities:    capabilities(r, f),
		Rlimits:         r.Limits,
		NoNewPrivileges: true,
	}
	// What another user shows on it, and reads from it, would be from root's terminal.
	p.TTY = r.Terminal == Auto && !p.Spec.Process.Terminal && f.Caller.TTY && !p.SetIDs
	if err := p.workingDir(r, f); err != nil {
		return err
	}
	p.command(r, who.Shell)
	p.setShell(r, f)
	p.setLocales(r, f)
	p.setTerm(f)
	for _, arg := range p.Spec.Process.Args {
		if strings.IndexByte(arg, 0) >= 0 {
			return fmt.Errorf("argument %q has a NUL byte", arg)
		}
	}
	return nil
}

// wantsTerminal tells whether the command gets a terminal of its own. That takes the
// caller's: to have it, a job in the background would be stopped, also for a command
// that never reads. So it has one only if asked for, and for a shell, which reads first
// of all.
func (r Request) wantsTerminal(c caller.Caller) bool {
	if r.Terminal != Auto {
		return r.Terminal == Yes
	}
	return c.Terminal && (!c.Background || len(r.Command) == 0)
}

// PlainShell is the shell of every image that has one.
const PlainShell = "/bin/sh"

// command decides what is executed. A command that the login shell shall run is
// handed to it as its arguments, so that nothing needs quoting; which only a
// shell with POSIX syntax understands.
func (p *Plan) command(r Request, shell string) {
	if !path.IsAbs(shell) {
		shell = PlainShell
	}
	run := append([]string{"-c", `exec "$0" "$@"`}, r.Command...)
	switch {
	case len(r.Command) == 0:
		p.Spec.Process.Args, p.Fallback, p.Login = []string{shell}, []string{PlainShell}, true
	case !r.Login:
		p.Spec.Process.Args = slices.Clone(r.Command)
	case slices.Contains([]string{"sh", "bash", "dash", "ksh", "zsh", "mksh"}, path.Base(shell)):
		p.Spec.Process.Args, p.Login = append([]string{shell}, run...), true
		p.Fallback = append([]string{PlainShell}, run...)
	default:
		p.Spec.Process.Args, p.Login = append([]string{PlainShell}, run...), true
	}
	p.Login = p.Login && !r.NoLogin
}

// readAhead guesses what the command's start reads: the program, a shell if it is a
// script, the dynamic loader, the C library. A wrong guess costs an open(2).
func (p *Plan) readAhead(arch arch.Architecture) {
	if p.Root.Kind != RootSnapshot {
		return // an image's files are in the page cache after their first use
	}
	program := p.Spec.Process.Args[0]
	if !strings.Contains(program, "/") {
		program = path.Join("/usr/bin", program)
	}
	p.Root.ReadAhead = []string{program, PlainShell}
	if arch.Loader != "" {
		p.Root.ReadAhead = append(p.Root.ReadAhead, arch.Loader, "/etc/ld.so.cache", path.Join("/lib", arch.Triplet, "libc.so.6"))
	}
}

// capabilities are none, except where root maintains an image, or is root of a user namespace only.
func capabilities(r Request, f Facts) *specs.LinuxCapabilities {
	if f.RootInside == nil && (!r.NoEphemeral || f.User.UID != 0) {
		return &specs.LinuxCapabilities{}
	}
	return &specs.LinuxCapabilities{Bounding: Capabilities, Effective: Capabilities, Permitted: Capabilities}
}

// AnotherUser tells that the command has another user id on the host than the caller.
// Another process with that id may take descriptors out of its processes (pidfd_getfd(2)):
// with the caller's terminal they could read what the caller types for other programs,
// and write on the screen in their name.
func (p *Plan) AnotherUser() bool { return p.SetIDs || p.RootInside() }
