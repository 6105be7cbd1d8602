package plan

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// TerminfoDirs are the directories with descriptions of terminals, see terminfo(5).
var TerminfoDirs = []string{"/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo", "/usr/lib/terminfo"}

// knowsTerm tells whether a directory has a terminal's description, in the
// subdirectories where libraries look: the first letter of the name, or that letter in
// hexadecimal.
func knowsTerm(dir, term string, has func(name string) bool) bool {
	return has(path.Join(dir, term[:1], term)) || has(path.Join(dir, fmt.Sprintf("%x", term[0]), term))
}

// IsTerm tells whether a value of TERM is a name whose description is to be looked for.
// Terminals that every image has, or that no other could replace, are not.
func IsTerm(term string) bool {
	return term != "" && term[0] != '.' && !strings.Contains(term, "/") && !slices.Contains([]string{"dumb", "linux", "xterm", "vt100"}, term)
}

// FallbackTerm returns the terminal itself if it is described, else one like it that
// is. has tells whether a file exists. If nothing is described, that is the terminal
// itself: the image uses no descriptions.
func FallbackTerm(term string, has func(name string) bool) string {
	if !IsTerm(term) {
		return term
	}
	terms := []string{term, "xterm-256color", "xterm"}
	if strings.HasPrefix(term, "tmux") { // is more like screen than like xterm
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

// setTerm sets TERM to a terminal that the image knows.
func (p *Plan) setTerm(f Facts) {
	if f.Term != "" {
		p.Spec.Process.Env = WithEntry(p.Spec.Process.Env, "TERM="+f.Term)
	}
}

// WithEntry returns the environment with an entry NAME=VALUE set.
func WithEntry(env []string, entry string) []string {
	e := newEnviron(env...)
	e.set(entry)
	return e.list
}

// OwnTerm tells whether the caller's home has a terminal's description. has looks with
// the caller's own rights: the home may be on a file system that answers nobody else.
func OwnTerm(home, term string, has func(name string) bool) bool {
	return path.IsAbs(home) && knowsTerm(path.Join(home, ".terminfo"), term, has)
}
