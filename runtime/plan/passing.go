package plan

import (
	"slices"
	"strconv"
	"strings"

	"mayfly/runtime/caller"
)

// A Passing is what of the descriptors that the program was started with the command
// gets, at the same numbers: the caller has them already. None is a directory, by which
// one would get out of the root file system, and none a device but those that every
// container has.
type Passing struct {
	Asked     []int      // for themselves
	Listening int        // sockets of systemd's (sd_listen_fds(3)), from 3 on
	Jobserver *Jobserver // of make; nil: there is none
}

// FirstPassed is where descriptors begin that are no standard input, output or error.
const FirstPassed = 3

// Descriptors are all that may be passed, in order.
func (p Passing) Descriptors() []int {
	list := slices.Clone(p.Asked)
	for i := range p.Listening {
		list = append(list, FirstPassed+i)
	}
	if p.Jobserver != nil {
		list = append(list, p.Jobserver.Read, p.Jobserver.Write)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// pass has the plan's command get descriptors, and makes its environment tell of them.
func (p *Plan) pass(r Request, caller caller.Caller) {
	passing := r.Passing
	if len(passing.Asked) == 0 && passing.Listening == 0 && passing.Jobserver == nil {
		return
	}
	env := newEnviron(p.Spec.Process.Env...)
	if passing.Listening > 0 {
		env.set("LISTEN_FDS=" + strconv.Itoa(passing.Listening))
		if names := Value(caller.Env, "LISTEN_FDNAMES"); names != "" {
			env.set("LISTEN_FDNAMES=" + names)
		}
		p.ListenPID = true
	}
	if j := passing.Jobserver; j != nil {
		flags := Value(env.list, MakeFlags)
		if !slices.Contains(strings.Fields(flags), j.Word) {
			passing.Jobserver = nil // MAKEFLAGS does not pass
		} else {
			env.set(MakeFlags + "=" + strings.Replace(flags, j.Word, j.inside(), 1))
		}
	}
	p.Spec.Process.Env, p.Descriptors = env.list, passing.Descriptors()
}

// withoutPassed is an environment for a command that joins the container: without what
// tells of descriptors, which it has not.
func withoutPassed(env []string) []string {
	var kept []string
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		switch name {
		case "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES":
			continue
		case MakeFlags:
			entry = name + "=" + withoutJobserver(value)
		}
		kept = append(kept, entry)
	}
	return kept
}

// Joining is the plan of another command, which joins the container. It has these variables
// besides, and a directory in which it must start ("": the container's).
func (p *Plan) Joining(args, env []string, dir string) *Plan {
	other, process := *p, *p.Spec.Process
	e := newEnviron(withoutPassed(process.Env)...)
	for _, entry := range env {
		e.set(entry)
	}
	process.Args, process.Env = args, e.list
	if dir != "" {
		process.Cwd, other.DirRequired, other.CwdID, other.CwdNames = dir, true, nil, nil
	}
	other.Login, other.Fallback, other.Spec.Process = false, nil, &process
	other.Descriptors, other.ListenPID, other.Joins = nil, false, true
	return &other
}
