package plan

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// A FileID identifies a file among all of this machine, as in stat(2).
type FileID struct {
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
}

// A HostDir is a directory of the host that the command is to find inside.
type HostDir struct {
	Path   string // the kernel's name for it; "": none
	ID     FileID
	Inside []string // its names inside by way of binds, Path first
	Err    error    // why it cannot be bound, or has no Path
}

// A BoundSource is the source of a bind, and its destination.
type BoundSource struct {
	FileID
	Destination string
}

// A homeInside is the decision about HOME.
type homeInside struct {
	value string // what HOME is to be; "": unchanged
	bind  bool   // the home is bound, at its Path
	Note  string
}

// ChosenHome decides what HOME is inside, and whether the caller's home is bound. Root
// has the image's. Another home is bound if it is not inside already and the policy
// allows it. Otherwise HOME is a directory of the image of that name, or /tmp with a
// note.
func (f *Facts) ChosenHome(r Request) homeInside {
	h := f.Home
	if f.HomeName == "" || f.HomeIsOurs || names(r.Env, "HOME") || f.Caller.UID == 0 && f.User.UID == 0 || slices.Contains(h.Inside, f.HomeName) {
		return homeInside{}
	}
	var bind bool
	if len(h.Inside) == 0 && !f.HomeHides && f.User.UID == f.Caller.UID && f.Policy.BindHome && f.mayBindDir(h) {
		bind, h.Inside = true, []string{h.Path}
	}
	switch {
	case slices.Contains(h.Inside, h.Path) && (f.HomeLink || f.HomeName == h.Path):
		return homeInside{bind: bind}
	case len(h.Inside) > 0:
		return homeInside{bind: bind, value: h.Inside[0]}
	case f.HomeInImage:
		return homeInside{}
	}
	advice := ""
	if h.Path != "" {
		advice = ": --bind " + h.Path + " brings it"
	}
	return homeInside{value: "/tmp", Note: fmt.Sprintf("the home %q is not in the container, HOME is /tmp%s", f.HomeName, advice)}
}

// Covered tells whether a bind of the policy's covers a name in the image.
func (f *Facts) Covered(name string) bool {
	return slices.ContainsFunc(f.Bound, func(s BoundSource) bool { return Within(name, s.Destination) })
}

// mayBindDir tells whether the policy lets a directory be bound that the request does
// not name. Plan.Allows is asked again when the directory is open.
func (f *Facts) mayBindDir(d HostDir) bool {
	if d.Path == "" || d.Err != nil {
		return false
	}
	return f.Policy.Unbound || slices.ContainsFunc(f.Policy.AllowBind, func(dir string) bool { return Within(d.Path, dir) })
}

// Along are the binds that the request does not name: of the home and the working
// directory.
func (f *Facts) Along(r Request) []Bind {
	var binds []Bind
	if f.ChosenHome(r).bind && !r.mountsOn(f.Home.Path) {
		binds = append(binds, Bind{Source: f.Home.Path, Destination: f.Home.Path})
	}
	switch {
	case f.bindsProject(r):
		binds = append(binds, Bind{Source: f.Project.Path, Destination: f.Project.Path})
	case f.bindsDir(r):
		binds = append(binds, Bind{Source: f.Dir.Path, Destination: f.Dir.Path})
	}
	return binds
}

// inProject tells whether the project's directory has the working directory in it.
func (f *Facts) inProject(r Request) bool {
	return r.Project != "" && Within(f.Dir.Path, f.Project.Path)
}

// bindsProject tells whether the project's directory is bound.
func (f *Facts) bindsProject(r Request) bool {
	home := f.ChosenHome(r).bind && Within(f.Project.Path, f.Home.Path)
	return f.inProject(r) && !home && f.mayBindAlong(r, f.Project) && !f.ProjectHides
}

// mayBindAlong tells whether the working directory, or that of the project, may be
// bound without that the request names it. A command that runs as another user gets no
// directory of the caller's.
func (f *Facts) mayBindAlong(r Request, d HostDir) bool {
	return r.Dir == "" && !r.NoEphemeral && !r.mountsOn(d.Path) && f.User.UID == f.Caller.UID && len(d.Inside) == 0 &&
		d.Path != "/" && f.Policy.BindCwd && f.mayBindDir(d)
}

// dirInside are the names of the working directory inside. A home or project that is
// bound has it too.
func (f *Facts) dirInside(r Request) []string {
	if f.ChosenHome(r).bind && Within(f.Dir.Path, f.Home.Path) {
		return []string{f.Dir.Path}
	}
	if f.inProject(r) && (f.bindsProject(r) || r.mountsOn(f.Project.Path)) {
		return append([]string{f.Dir.Path}, f.Dir.Inside...)
	}
	return f.Dir.Inside
}

// bindsDir tells whether the working directory is bound.
func (f *Facts) bindsDir(r Request) bool {
	return len(f.dirInside(r)) == 0 && f.mayBindAlong(r, f.Dir) && !f.DirHides
}

// mountsOn tells whether the request mounts something on a path.
func (r Request) mountsOn(name string) bool {
	return slices.ContainsFunc(r.Binds, func(b Bind) bool { return b.Destination == name }) ||
		slices.ContainsFunc(r.Tmpfs, func(t Tmpfs) bool { return t.Destination == name })
}

// whyNotInside returns an error that tells why the working directory is not inside, and
// what to do.
func (f *Facts) whyNotInside(r Request) error {
	dir, why := fmt.Sprintf("%q", f.Dir.Path), f.Dir.Err
	switch {
	case f.Dir.Path == "":
		dir, why = "of this process", f.Caller.DirErr
	case why != nil:
	case f.DirHides:
		why = errors.New("it would hide what the image has there, unless you say --bind")
	case r.NoHostBinds:
		why = errors.New("--no-host-binds leaves it out, unless you say --bind")
	case r.NoEphemeral:
		why = errors.New("an image that is changed has nothing of the host's")
	case f.User.UID != f.Caller.UID:
		why = errors.New("another user than you gets only what the policy binds, and --bind")
	default:
		why = fmt.Errorf("%s does not allow its bind (allow-bind, bind-cwd)", f.Policy.Place())
	}
	elsewhere := "/tmp"
	if Within(f.Dir.Path, elsewhere) {
		elsewhere = "/"
	}
	return fmt.Errorf("working directory %s is not in the container: %w: --chdir DIR runs the command elsewhere, as in --chdir %s", dir, why, elsewhere)
}

// LeaveOut removes binds from the policy's list that the request does not want
// (--no-bind, --no-host-binds). The image's own files appear there. A name that the policy
// does not bind is an error.
func (f *Facts) LeaveOut(r Request) error {
	for _, name := range r.NoBinds {
		name = path.Clean(name)
		if !slices.Contains(f.Policy.Bind, name) && !slices.Contains(f.Policy.BindReadOnly, name) {
			return fmt.Errorf("--no-bind %s: the rule at %s binds %s", name, f.Policy.Place(),
				strings.Join(slices.Concat(f.Policy.Bind, f.Policy.BindReadOnly), ", "))
		}
		is := func(other string) bool { return other == name }
		f.Policy.Bind, f.Policy.BindReadOnly = slices.DeleteFunc(f.Policy.Bind, is), slices.DeleteFunc(f.Policy.BindReadOnly, is)
	}
	if r.NoHostBinds {
		f.Policy.Bind, f.Policy.BindReadOnly, f.Policy.BindCwd, f.Policy.BindHome = nil, nil, false, false
	}
	return nil
}
