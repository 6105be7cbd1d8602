package provenance

import (
	"net/url"
	"os/exec"
	"strings"
)

// A Source is the commit of a project's sources.
type Source struct {
	Top    string // directory of the repository
	Commit string
	Dirty  bool   // something was changed since the commit, or is not in it
	URL    string // of the remote "origin", without a password; "": there is none
}

// FindSource asks git(1) for the commit of a directory. nil: it is in no repository of
// the caller's, or there is no git. It runs with the caller's rights: run executes a
// command and returns its output.
func FindSource(dir string, run func(*exec.Cmd) ([]byte, error)) *Source {
	git := func(args ...string) (string, bool) {
		out, err := run(exec.Command("git", append([]string{"-C", dir}, args...)...))
		return strings.TrimSpace(string(out)), err == nil
	}
	top, ok := git("rev-parse", "--show-toplevel")
	if !ok || top == "" {
		return nil
	}
	commit, ok := git("rev-parse", "--verify", "HEAD")
	if !ok {
		return nil
	}
	s := &Source{Top: top, Commit: commit}
	changed, ok := git("status", "--porcelain")
	s.Dirty = !ok || changed != ""
	if remote, ok := git("config", "--get", "remote.origin.url"); ok {
		s.URL = withoutPassword(remote)
	}
	return s
}

// withoutPassword returns a URL without what only its owner should know.
func withoutPassword(remote string) string {
	u, err := url.Parse(remote)
	if err != nil || u.Scheme == "" { // git@host:path
		return remote
	}
	u.User = nil
	return u.String()
}

// Resource is the source as a dependency.
func (s *Source) Resource() Resource {
	kind := "gitCommit"
	r := Resource{Name: "source", Digest: map[string]string{kind: s.Commit}, Annotations: map[string]any{"dirty": s.Dirty}}
	if s.URL != "" {
		r.URI = "git+" + strings.TrimPrefix(s.URL, "git+") + "@" + s.Commit
	}
	return r
}

// CommitOf returns the commit that a statement was made from, if nothing had been changed
// since; "" otherwise.
func (s *Statement) CommitOf() string {
	for _, d := range s.Predicate.Definition.Dependencies {
		if d.Name == "source" && d.Annotations["dirty"] == false {
			return d.Digest["gitCommit"]
		}
	}
	return ""
}
