package plan

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"mayfly/runtime/caller"
	"mayfly/runtime/user/passwd"
)

// Value returns the value of the first entry of that name; "" if there is none.
func Value(env []string, name string) string {
	for _, entry := range env {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			return v
		}
	}
	return ""
}

func homeOf(env []string) string {
	if home := Value(env, "HOME"); path.IsAbs(home) {
		return home
	}
	return "/"
}

// searchPath is the PATH inside, unless the image or the request sets one.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// runtimeDirVariable names the user's directory in /run. The caller's value names one
// outside, so it does not pass.
const runtimeDirVariable = "XDG_RUNTIME_DIR"

// Environment composes the command's environment. A later entry replaces an earlier one
// of its name: first come the image's, then those about the container and the user,
// then those that pass from the caller, then those that the request sets. If the
// command runs as another user, the caller's USER, LOGNAME, HOME and SHELL do not pass.
func Environment(r Request, image []string, caller caller.Caller, passes func(name string) bool, who passwd.Entry) ([]string, error) {
	env := newEnviron(slices.Concat([]string{"PATH=" + searchPath}, image, []string{
		"container=mayfly", "USER=" + who.Name, "LOGNAME=" + who.Name, "HOME=" + who.Home, "SHELL=" + who.Shell,
		runtimeDirVariable + "=" + RuntimeDir(who.UID)})...)
	personal := []string{"USER", "LOGNAME", "HOME", "SHELL"}
	for _, entry := range caller.Env {
		name, _, ok := strings.Cut(entry, "=")
		if !ok || name == "" || name == runtimeDirVariable || who.UID != caller.UID && slices.Contains(personal, name) {
			continue
		}
		if r.EnvAll || passes(name) {
			env.set(entry)
		}
	}
	set, err := Requested(r.Env, caller.Env)
	for _, entry := range set {
		env.set(entry)
	}
	return env.list, err
}

// whoIsRoot returns variables that tell root inside who they are outside. They are
// those of sudo(8), by which programs that run as root treat a user's files: git asks
// SUDO_UID whether a repository is somebody else's. If root has the caller's own id,
// the caller's files are root's, and those variables would mislead.
func (f *Facts) whoIsRoot() []string {
	who := f.User
	if f.RootInside.IsCaller {
		return []string{"MAYFLY_USER=" + f.RootInside.Root.Name}
	}
	return []string{"MAYFLY_USER=" + who.Name, "SUDO_USER=" + who.Name, fmt.Sprintf("SUDO_UID=%d", who.UID), fmt.Sprintf("SUDO_GID=%d", who.GID)}
}

// unlessAsked sets entries, except those whose name the request sets.
func unlessAsked(env, request, entries []string) []string {
	e := newEnviron(env...)
	for _, entry := range entries {
		if name, _, _ := strings.Cut(entry, "="); !names(request, name) {
			e.set(entry)
		}
	}
	return e.list
}

// names tells whether a request sets or passes a variable.
func names(request []string, variable string) bool {
	return slices.ContainsFunc(request, func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return name == variable
	})
}

// Requested resolves entries to set (NAME=VALUE) or to pass (NAME, with the caller's
// value). A variable to pass that the caller does not have is left out.
func Requested(list, callers []string) ([]string, error) {
	var set []string
	for _, entry := range list {
		name, _, ok := strings.Cut(entry, "=")
		if name == "" {
			return nil, fmt.Errorf("environment entry %q has no name", entry)
		}
		if strings.IndexByte(entry, 0) >= 0 {
			return nil, fmt.Errorf("environment entry %q has a NUL byte", entry)
		}
		if !ok {
			i := slices.IndexFunc(callers, func(e string) bool { return strings.HasPrefix(e, name+"=") })
			if i < 0 {
				continue
			}
			entry = callers[i]
		}
		set = append(set, entry)
	}
	return set, nil
}

// environ is an environment in the order in which names come first. A later value
// replaces an earlier one in its place.
type environ struct {
	list  []string
	place map[string]int
}

func newEnviron(entries ...string) *environ {
	e := &environ{place: map[string]int{}}
	for _, entry := range entries {
		e.set(entry)
	}
	return e
}

func (e *environ) set(entry string) {
	name, _, _ := strings.Cut(entry, "=")
	if i, ok := e.place[name]; ok {
		e.list[i] = entry
		return
	}
	e.place[name] = len(e.list)
	e.list = append(e.list, entry)
}

// UserDirs is the directory in /run with a directory for each user.
const UserDirs = "user"

// RuntimeDir is the value of XDG_RUNTIME_DIR inside.
func RuntimeDir(uid uint32) string {
	return path.Join("/run", UserDirs, strconv.FormatUint(uint64(uid), 10))
}
