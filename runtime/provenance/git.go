package provenance

import (
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A Source is the commit of a project's sources.
type Source struct {
	Top    string // directory of the repository
	Commit string
	Dirty  bool   // something was changed since the commit, or is not in it
	URI    string // of the remote "origin", without user and password; "": there is none
}

// Git is a command of git(1) that executes no program which the repository's
// configuration names as a monitor or a hook, and takes no lock for its own sake.
func Git(args ...string) *exec.Cmd {
	cmd := exec.Command("git", append([]string{"-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"}, args...)...)
	cmd.Env = []string{"GIT_OPTIONAL_LOCKS=0"}
	return cmd
}

// Top returns the top of the repository of a directory; "": it is in none.
func Top(dir string, run func(*exec.Cmd) ([]byte, error)) string {
	out, err := run(Git("-C", dir, "rev-parse", "--show-toplevel"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// FindSource asks git(1) for the commit of a directory. nil: it is in no repository of
// the caller's, or there is no git. It runs with the caller's rights: run executes a
// command and returns its output. ours are files that the program writes: they make
// nothing dirty.
func FindSource(dir string, ours []string, run func(*exec.Cmd) ([]byte, error)) *Source {
	git := func(args ...string) (string, bool) {
		out, err := run(Git(append([]string{"-C", dir}, args...)...))
		return strings.TrimSpace(string(out)), err == nil
	}
	top := Top(dir, run)
	if top == "" {
		return nil
	}
	commit, ok := git("rev-parse", "--verify", "HEAD")
	if !ok {
		return nil
	}
	s := &Source{Top: top, Commit: commit}
	changed, ok := git("status", "--porcelain", "-z", "--untracked-files=all", "--ignore-submodules=none")
	s.Dirty = !ok
	for entry := range strings.SplitSeq(changed, "\x00") { // XY PATH, or the old name of a renamed file
		name, untracked := strings.CutPrefix(entry, "?? ")
		if entry != "" && !(untracked && slices.Contains(ours, filepath.Join(top, name))) {
			s.Dirty = true
		}
	}
	if remote, ok := git("config", "--get", "remote.origin.url"); ok {
		s.URI = uriOf(remote)
	}
	return s
}

// uriOf writes a git URL as a URI without what only its owner should know; "": it
// cannot be written so.
func uriOf(remote string) string {
	if scheme, _, is := strings.Cut(remote, "://"); is && !strings.Contains(scheme, ":") {
		u, err := url.Parse(remote)
		if err != nil || u.Host == "" {
			return ""
		}
		return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
	}
	host, path, is := strings.Cut(remote, ":")
	if !is || strings.Contains(host, "/") || strings.HasPrefix(path, ":") { // a path, or another kind of remote
		return ""
	}
	host = host[strings.LastIndexByte(host, '@')+1:]
	if strings.Contains(path, "@") { // USER:PASSWORD@HOST:PATH
		return ""
	}
	return (&url.URL{Scheme: "ssh", Host: host, Path: "/" + strings.TrimPrefix(path, "/")}).String()
}

// Resource is the source as a dependency, of a project in a directory of the
// repository.
func (s *Source) Resource(project string) Resource {
	r := Resource{Name: "source", Digest: map[string]string{"gitCommit": s.Commit}, Annotations: map[string]any{"dirty": s.Dirty}}
	if s.URI != "" {
		r.URI = "git+" + s.URI + "@" + s.Commit
	}
	if below, err := filepath.Rel(s.Top, project); err == nil && filepath.IsLocal(below) {
		r.Annotations["directory"] = below
	}
	return r
}

// A Commit is what a statement tells of its source.
type Commit struct {
	ID        string // 40 or 64 hex digits
	Dirty     bool
	Directory string // of the project in the repository; "": it is not in that
}

// Commit returns the commit of a statement; nil: it names none.
func (s *Statement) Commit() *Commit {
	for _, d := range s.Predicate.Definition.Dependencies {
		if d.Name == "source" {
			below, _ := d.Annotations["directory"].(string)
			return &Commit{d.Digest["gitCommit"], d.Annotations["dirty"] != false, below}
		}
	}
	return nil
}

// check refuses what git(1) could take for something else.
func (c *Commit) check() error {
	switch {
	case c == nil:
		return nil
	case len(c.ID) != 40 && len(c.ID) != 64 || strings.Trim(c.ID, "0123456789abcdef") != "":
		return fmt.Errorf("the commit %q is none of git's", c.ID)
	case c.Directory != "" && (!filepath.IsLocal(c.Directory) || filepath.Clean(c.Directory) != c.Directory):
		return fmt.Errorf("the directory %q is not one of the repository", c.Directory)
	}
	return nil
}
