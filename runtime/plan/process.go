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
	about := []string{"MAYFLY_IMAGE=" + p.ImageReference(), "MAYFLY_CONTAINER=" + p.Container}
	if f.RootInside != nil {
		about = append(about, f.whoIsRoot()...)
	}
	home := f.ChosenHome(r)
	if home.value != "" {
		about = append(about, "HOME="+home.value)
	}
	env = unlessAsked(env, r.Env, about)
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
	// For another user's command it would be root's terminal: that user could write on
	// it, and read what root types.
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

// wantsTerminal tells whether the command gets a terminal of its own. Its relay takes
// over the caller's terminal, and the kernel stops a background job that does so, even
// if the command never reads. So a command in the background gets one only if asked
// for; a shell gets one, since it reads at once.
func (r Request) wantsTerminal(c caller.Caller) bool {
	if r.Terminal != Auto {
		return r.Terminal == Yes
	}
	return c.Terminal && (!c.Background || len(r.Command) == 0)
}

// PlainShell is the shell of every image that has one.
const PlainShell = "/bin/sh"

// command decides what is executed. With --login the login shell gets the command as
// arguments, so that nothing has to be quoted. Only a shell with POSIX syntax can run
// them.
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

// readAhead guesses which files the command's start reads: the program, a shell in case
// it is a script, the dynamic loader, the C library. A wrong guess costs an open(2).
func (p *Plan) readAhead(arch arch.Architecture) {
	if p.Root.Kind != RootSnapshot {
		return // after its first use a version's files are in the page cache
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

// capabilities returns Capabilities where root changes an image, and for root inside;
// otherwise none.
func capabilities(r Request, f Facts) *specs.LinuxCapabilities {
	if f.RootInside == nil && (!r.NoEphemeral || f.User.UID != 0) {
		return &specs.LinuxCapabilities{}
	}
	return &specs.LinuxCapabilities{Bounding: Capabilities, Effective: Capabilities, Permitted: Capabilities}
}

// AnotherUser tells whether the command has another user id on the host than the
// caller. A process of that user may take descriptors out of the command
// (pidfd_getfd(2)). With the caller's terminal it could read what the caller types for
// other programs, and write on the caller's screen.
func (p *Plan) AnotherUser() bool { return p.SetIDs || p.RootInside() }
