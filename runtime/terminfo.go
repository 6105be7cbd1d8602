package runtime

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/mount"
)

// Where descriptions of terminals are, see terminfo(5).
var terminfoDirs = []string{"/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo", "/usr/lib/terminfo"}

// knowsTerm tells whether a terminal is described below a directory, by the names that
// the libraries look for: its first letter, or that as a number.
func knowsTerm(dir, term string, has func(name string) bool) bool {
	return has(path.Join(dir, term[:1], term)) || has(path.Join(dir, fmt.Sprintf("%x", term[0]), term))
}

// isTerm tells whether it is a name whose description is to be looked for. What
// everybody has, and nothing could take the place of, is not.
func isTerm(term string) bool {
	return term != "" && term[0] != '.' && !strings.Contains(term, "/") && !slices.Contains([]string{"dumb", "linux", "xterm", "vt100"}, term)
}

// fallbackTerm is the terminal itself, or one like it that is described where has finds
// files. Where none is, nothing has descriptions there, and it is the terminal itself.
func fallbackTerm(term string, has func(name string) bool) string {
	if !isTerm(term) {
		return term
	}
	terms := []string{term, "xterm-256color", "xterm"}
	if strings.HasPrefix(term, "tmux") { // which is a screen rather than an xterm
		terms = []string{term, "screen-256color", "screen", "xterm-256color", "xterm"}
	}
	for _, t := range terms {
		for _, dir := range terminfoDirs {
			if knowsTerm(dir, t, has) {
				return t
			}
		}
	}
	return term
}

// ownTerm tells whether the caller's home describes a terminal. With their own rights;
// it may be on a file system that answers nobody else.
func ownTerm(home, term string) bool {
	return path.IsAbs(home) && knowsTerm(path.Join(home, ".terminfo"), term, func(name string) bool { return unix.Access(name, unix.F_OK) == nil })
}

// wantsTerm is the terminal of the environment, if it is one to look for: the request
// says no other, and the caller's home and variables do not describe it.
func (f *Facts) wantsTerm(r Request, env []string) string {
	term, home := value(env, "TERM"), value(env, "HOME")
	switch {
	case !isTerm(term), asksFor(r.Env, "TERM"), value(env, "TERMINFO") != "", value(env, "TERMINFO_DIRS") != "":
		return ""
	case slices.ContainsFunc(terminfoDirs, func(dir string) bool { return f.covers(r, dir) }):
		return ""
	case f.covers(r, home) && ownTerm(home, term):
		return ""
	}
	return term
}

// findTerm finds what takes the place of a terminal that the image does not know.
func (f *Facts) findTerm(inside mount.Root) {
	if f.Term == "" {
		return
	}
	f.Term = fallbackTerm(f.Term, func(name string) bool {
		fd, err := inside.Open(name, unix.O_PATH)
		if err == nil {
			unix.Close(fd)
		}
		return err == nil
	})
}

// setTerm has TERM name a terminal that the image knows.
func (p *Plan) setTerm(f Facts) {
	if f.Term != "" {
		p.Spec.Process.Env = withEntry(p.Spec.Process.Env, "TERM="+f.Term)
	}
}

// withTerm is the plan of a command that joins, with a terminal that the container
// knows. It is for a thread in the container.
func (p *Plan) withTerm() *Plan {
	env := p.Spec.Process.Env
	term := value(env, "TERM")
	other := fallbackTerm(term, func(name string) bool { return unix.Access(name, unix.F_OK) == nil })
	if other == term || value(env, "TERMINFO") != "" || value(env, "TERMINFO_DIRS") != "" {
		return p
	}
	changed, process := *p, *p.Spec.Process
	process.Env = withEntry(slices.Clone(env), "TERM="+other)
	changed.Spec.Process = &process
	return &changed
}

// withEntry sets an entry of an environment.
func withEntry(env []string, entry string) []string {
	e := newEnviron(env...)
	e.set(entry)
	return e.list
}
