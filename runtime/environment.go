package runtime

import (
	"fmt"
	"slices"
	"strings"

	"mayfly/runtime/user"
)

// searchPath is where commands are looked for inside, unless the request sets PATH.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment composes the command's environment: what the container is, then who
// the user is, then what passes from the caller, then what the request sets. For
// another user than the caller, nothing that tells of the caller passes.
func environment(r Request, caller Caller, passes func(name string) bool, who user.Entry) ([]string, error) {
	env := newEnviron(
		"PATH="+searchPath, "container=mayfly",
		"USER="+who.Name, "LOGNAME="+who.Name, "HOME="+who.Home, "SHELL="+who.Shell)
	personal := []string{"USER", "LOGNAME", "HOME", "SHELL"}
	for _, entry := range caller.Env {
		name, _, ok := strings.Cut(entry, "=")
		if !ok || name == "" || who.UID != caller.UID && slices.Contains(personal, name) {
			continue
		}
		if r.EnvAll || passes(name) {
			env.set(entry)
		}
	}
	for _, entry := range r.Env {
		name, _, ok := strings.Cut(entry, "=")
		if name == "" {
			return nil, fmt.Errorf("environment entry %q has no name", entry)
		}
		if strings.IndexByte(entry, 0) >= 0 {
			return nil, fmt.Errorf("environment entry %q has a NUL byte", entry)
		}
		if !ok {
			i := slices.IndexFunc(caller.Env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
			if i < 0 {
				continue
			}
			entry = caller.Env[i]
		}
		env.set(entry)
	}
	return env.list, nil
}

// environ is an environment in the order of first mention; a later value replaces
// an earlier one in its place.
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
