package plan

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Where descriptions of terminals are, see terminfo(5).
var TerminfoDirs = []string{"/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo", "/usr/lib/terminfo"}

// knowsTerm tells whether a terminal is described below a directory, by the names that
// the libraries look for: its first letter, or that as a number.
func knowsTerm(dir, term string, has func(name string) bool) bool {
	return has(path.Join(dir, term[:1], term)) || has(path.Join(dir, fmt.Sprintf("%x", term[0]), term))
}

// IsTerm tells whether it is a name whose description is to be looked for. What
// everybody has, and nothing could take the place of, is not.
func IsTerm(term string) bool {
	return term != "" && term[0] != '.' && !strings.Contains(term, "/") && !slices.Contains([]string{"dumb", "linux", "xterm", "vt100"}, term)
}

// FallbackTerm is the terminal itself, or one like it that is described where has finds
// files. Where none is, nothing has descriptions there, and it is the terminal itself.
func FallbackTerm(term string, has func(name string) bool) string {
	if !IsTerm(term) {
		return term
	}
	terms := []string{term, "xterm-256color", "xterm"}
	if strings.HasPrefix(term, "tmux") { // which is a screen rather than an xterm
		terms = []string{term, "screen-256color", "screen", "xterm-256color", "xterm"}
	}
	for _, t := range terms {
		for _, dir := range TerminfoDirs {
			if knowsTerm(dir, t, has) {
				return t
			}
		}
	}
	return term
}

// setTerm has TERM name a terminal that the image knows.
func (p *Plan) setTerm(f Facts) {
	if f.Term != "" {
		p.Spec.Process.Env = WithEntry(p.Spec.Process.Env, "TERM="+f.Term)
	}
}

// WithEntry sets an entry of an environment.
func WithEntry(env []string, entry string) []string {
	e := newEnviron(env...)
	e.set(entry)
	return e.list
}

// OwnTerm tells whether the caller's home describes a terminal. has looks with their own rights: the
// home may be on a file system that answers nobody else.
func OwnTerm(home, term string, has func(name string) bool) bool {
	return path.IsAbs(home) && knowsTerm(path.Join(home, ".terminfo"), term, has)
}
