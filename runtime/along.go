package runtime

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/mount"
)

// What runs inside is what was called outside: the working directory is the caller's
// own, not another one of the same name, and the home is there. Which directory it is,
// its device and inode tell. One that no bind brings is bound at its own name, where
// the policy lets.

// A fileID tells a file from all others of this machine.
type fileID struct {
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
}

// identify follows symbolic links, with the rights that the thread has.
func identify(name string) (fileID, error) {
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		return fileID{}, err
	}
	return fileID{st.Dev, st.Ino}, nil
}

// A hostDir is a directory of the host that the command is to find inside.
type hostDir struct {
	Path   string // the kernel's name for it; "": it has none
	ID     fileID
	Inside []string // its names inside, by way of binds; its own first, if that is one
	Err    error    // why it cannot be bound, or why it has no name
}

// A boundSource is the source of a bind, and where it appears.
type boundSource struct {
	fileID
	destination string
}

// namesInside are the names that a directory of the host has inside.
func namesInside(sources []boundSource, dir string) []string {
	var names []string
	for above := dir; ; above = path.Dir(above) {
		id, err := identify(above)
		for _, s := range sources {
			if err == nil && s.fileID == id {
				names = append(names, path.Join(s.destination, strings.TrimPrefix(dir, above)))
			}
		}
		if above == "/" {
			break
		}
	}
	if own := slices.Index(names, dir); own > 0 {
		names = slices.Insert(slices.Delete(names, own, own+1), 0, dir)
	}
	return names
}

// bindsOf adds what the request binds to what the policy does.
func (f *Facts) bindsOf(r Request) []boundSource {
	sources := slices.Clone(f.Bound)
	for _, b := range r.Binds {
		if id, err := identify(b.Source); err == nil { // else the launch says what is wrong
			sources = append(sources, boundSource{id, b.Destination})
		}
	}
	return sources
}

// findDirs finds the home and the working directory of the caller.
func (f *Facts) findDirs(r Request, env []string) {
	sources := f.bindsOf(r)
	f.findHome(r, env, sources)
	f.Dir = hostDir{Path: f.Caller.Dir, Err: f.Caller.DirErr}
	if r.Dir != "" || f.Dir.Path == "" {
		return
	}
	if f.Dir.ID, f.Dir.Err = identify("."); f.Dir.Err == nil {
		f.Dir.Inside = namesInside(sources, f.Dir.Path)
		f.Dir.Err = f.bindableDir(f.Dir.Path)
	}
}

// systemDirs are directories of the host's system: with all that is in them, but for
// sources and what the administrator has added; and those that are no place for work
// themselves. They are bound by --bind only.
var (
	systemTrees = []string{"/etc", "/boot", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr", "/run/mayfly"}
	sourceTrees = []string{"/usr/src", "/usr/local"}
	systemDirs  = []string{"/var", "/var/lib", "/run", "/root"}
)

// bindableDir tells why a directory cannot be bound unasked at its own name.
func (f *Facts) bindableDir(dir string) error {
	if _, err := cleanDestination(dir); err != nil {
		return err
	}
	in := func(trees []string) bool {
		return slices.ContainsFunc(trees, func(tree string) bool { return within(dir, tree) })
	}
	ofStore := !f.Own && (within(dir, f.Policy.Store) || within(f.Policy.Store, dir)) // one's own store is hidden anyway
	if in(systemTrees) && !in(sourceTrees) || slices.Contains(systemDirs, dir) || ofStore {
		return errors.New("it is one of the system's, which is bound only if you say --bind")
	}
	if err := unix.Access(dir, unix.R_OK|unix.X_OK); err != nil {
		return fmt.Errorf("open it: %w", err)
	}
	return nil
}

// findHome finds the directory that HOME will name.
func (f *Facts) findHome(r Request, env []string, sources []boundSource) {
	if r.NoEphemeral || r.RootInside {
		return // the image's
	}
	f.HomeName = path.Clean(value(env, "HOME"))
	if !path.IsAbs(f.HomeName) || f.HomeName == "/" {
		f.HomeName = ""
		return
	}
	f.Home = lookAt(f.HomeName)
	f.HomeIsOurs = isOwnMount(f.HomeName)
	if f.Home.Path == "" {
		return
	}
	f.Home.Err = f.bindableDir(f.Home.Path)
	f.Home.Inside = namesInside(sources, f.Home.Path)
	if f.HomeName != f.Home.Path {
		above := lookAt(path.Dir(f.HomeName))
		f.HomeLink = above.Path != "" && slices.Contains(namesInside(sources, above.Path), path.Dir(f.HomeName))
	}
}

// lookAt finds the directory that a name leads to, with the caller's rights.
func lookAt(name string) hostDir {
	fd, err := unix.Open(name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return hostDir{Err: err}
	}
	defer unix.Close(fd)
	var d hostDir
	var st unix.Stat_t
	if d.Err = unix.Fstat(fd, &st); d.Err != nil {
		return d
	}
	d.ID = fileID{st.Dev, st.Ino}
	d.Path, d.Err = placeOf(fd)
	return d
}

// A homeInside is what HOME is to be.
type homeInside struct {
	value string // "": as it is
	bind  bool   // the home is bound at the kernel's name for it
	note  string
}

// home decides on it. Root's is the image's; another one that is not inside is bound.
func (f *Facts) home(r Request) homeInside {
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
	return homeInside{value: "/tmp", note: fmt.Sprintf("the home %q is not in the container, HOME is /tmp%s", f.HomeName, advice)}
}

// covered tells whether the policy's binds hide what an image has of that name.
func (f *Facts) covered(name string) bool {
	return slices.ContainsFunc(f.Bound, func(s boundSource) bool { return within(name, s.destination) })
}

// mayBindDir tells whether the policy lets a directory be bound that nobody asked for.
// It is asked again when the directory is open.
func (f *Facts) mayBindDir(d hostDir) bool {
	if d.Path == "" || d.Err != nil {
		return false
	}
	return f.Policy.Unbound || slices.ContainsFunc(f.Policy.AllowBind, func(dir string) bool { return within(d.Path, dir) })
}

// along are the binds that come unasked: of the home and of the working directory.
func (f *Facts) along(r Request) []Bind {
	var binds []Bind
	if f.home(r).bind && !r.mountsOn(f.Home.Path) {
		binds = append(binds, Bind{Source: f.Home.Path, Destination: f.Home.Path})
	}
	if f.bindsDir(r) {
		binds = append(binds, Bind{Source: f.Dir.Path, Destination: f.Dir.Path})
	}
	return binds
}

// dirInside are the names of the working directory inside, also by way of the home.
func (f *Facts) dirInside(r Request) []string {
	if f.home(r).bind && within(f.Dir.Path, f.Home.Path) {
		return []string{f.Dir.Path}
	}
	return f.Dir.Inside
}

// findHides looks whether the working directory, or the home, would hide something of the
// image's if it were bound. --bind does it all the same.
func (f *Facts) findHides(inside mount.Root, r Request) {
	hides := func(d hostDir) bool {
		return d.Path != "" && len(d.Inside) == 0 && !f.covered(d.Path) && !onOwnMount(d.Path, r) &&
			len(namesIn(inside, d.Path, 1)) > 0
	}
	f.HomeHides = hides(f.Home)
	f.DirHides = hides(f.Dir)
}

// bindsDir tells whether the working directory is bound. Another user than the caller
// gets nothing that is the caller's.
func (f *Facts) bindsDir(r Request) bool {
	return r.Dir == "" && !r.NoEphemeral && !r.mountsOn(f.Dir.Path) && f.User.UID == f.Caller.UID && len(f.dirInside(r)) == 0 &&
		!f.DirHides && f.Dir.Path != "/" && f.Policy.BindCwd && f.mayBindDir(f.Dir)
}

// mountsOn tells whether the caller wants something else at a place.
func (r Request) mountsOn(name string) bool {
	return slices.ContainsFunc(r.Binds, func(b Bind) bool { return b.Destination == name }) ||
		slices.ContainsFunc(r.Tmpfs, func(t Tmpfs) bool { return t.Destination == name })
}

// whyNotInside tells why the working directory is not inside, and what to do.
func (f *Facts) whyNotInside(r Request) error {
	dir, why := fmt.Sprintf("%q", f.Dir.Path), f.Dir.Err
	switch {
	case f.Dir.Path == "":
		dir, why = "of this process", f.Caller.DirErr
	case why != nil:
	case f.DirHides:
		why = errors.New("it would hide what the image has there, unless you say --bind")
	case r.NoEphemeral:
		why = errors.New("an image that is changed has nothing of the host's")
	case f.User.UID != f.Caller.UID:
		why = errors.New("another user than you gets only what the policy binds, and --bind")
	default:
		why = fmt.Errorf("the rule at %s does not let it be bound (allow-bind, bind-cwd)", f.Policy.Place())
	}
	elsewhere := "/tmp"
	if within(f.Dir.Path, elsewhere) {
		elsewhere = "/"
	}
	return fmt.Errorf("working directory %s is not in the container: %w: --chdir DIR runs the command elsewhere, as in --chdir %s", dir, why, elsewhere)
}
