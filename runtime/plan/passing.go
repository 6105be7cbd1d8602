package plan

import (
	"slices"
	"strconv"
	"strings"

	"mayfly/runtime/caller"
)

// A Passing tells which descriptors of this program the command gets, at the same
// numbers. The caller has them already. None is a directory, by which one could leave
// the root file system, and none a device other than those that every container has.
type Passing struct {
	Asked     []int      // by --preserve-fds
	Listening int        // how many sockets of systemd's, from 3 on (sd_listen_fds(3))
	Jobserver *Jobserver // make's; nil: none
}

// FirstPassed is the first descriptor after standard input, output and error.
const FirstPassed = 3

// Descriptors returns all of them in order.
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

// pass gives the command its descriptors, and environment variables that tell of them.
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
			passing.Jobserver = nil // the command gets no MAKEFLAGS that names it
		} else {
			env.set(MakeFlags + "=" + strings.Replace(flags, j.Word, j.inside(), 1))
		}
	}
	p.Spec.Process.Env, p.Descriptors = env.list, passing.Descriptors()
}

// withoutPassed returns the environment for a command that joins the container: without
// the variables that tell of descriptors, which that command does not get.
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

// Joining returns the plan of another command that joins the container. env is added to
// the environment of the container's command. The command must start in dir; "" is the
// working directory of the container's command.
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
