package launch

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/console"
	"mayfly/runtime/control"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/plan"
)

// A fork is another command for the launch's thread to start: `exec` asks the
// supervisor, whose goroutine sends the fork.
type fork struct {
	control.Exec
	files  []int
	result chan forked
}

// A forked is the answer to a fork.
type forked struct {
	process *nsexec.Process
	console *console.Console
	err     error
}

var errEnding = errors.New("the container is ending")

// Ask makes the launch's thread fork another command and waits for that. files are
// descriptors 0, 1 and 2, or those of them that are not to be the terminal's (see
// control.Exec); they stay the caller's. The caller owns the Process and the Console,
// which is nil for a command without a terminal. Ask is called on goroutines of the
// supervisor, after Start. It returns EINVAL for a request that contradicts itself, and
// an error once the container is ending.
func (l *Launch) Ask(e control.Exec, files []int) (*nsexec.Process, *console.Console, error) {
	if len(e.Args) == 0 || e.Terminal && (len(files) > 1 || e.TTY) || !e.Terminal && len(files) != 3 {
		return nil, nil, unix.EINVAL
	}
	if e.TTY && l.Plan.SetIDs { // see Plan.TTY
		return nil, nil, fmt.Errorf("/dev/tty for another user's command: %w", unix.EINVAL)
	}
	f := fork{e, files, make(chan forked, 1)}
	select {
	case l.forks <- f:
		r := <-f.result
		return r.process, r.console, r.err
	case <-l.Over:
		return nil, nil, errEnding
	}
}

// startOthers starts the commands of Ask until Over is closed. The thread is confined
// by now, and a clone inherits that, so they are confined like the container's first
// command.
func (l *Launch) startOthers() {
	for {
		select {
		case f := <-l.forks:
			var r forked
			r.process, r.console, r.err = l.fork(f)
			f.result <- r
		case <-l.Over:
			return
		}
	}
}

func (l *Launch) fork(f fork) (*nsexec.Process, *console.Console, error) {
	plan := l.Plan.Joining(f.Args, f.Env, f.Dir)
	if !f.KeepTerm {
		plan = withTerm(plan)
	}
	if err := l.enterDir(plan); err != nil {
		return nil, nil, err
	}
	files, terminal, err := f.descriptors()
	if err != nil {
		return nil, nil, err
	}
	process, err := l.startCommand(plan, files, slaveOf(terminal))
	if err != nil {
		if terminal != nil {
			err = errors.Join(err, terminal.Close())
		}
		return nil, nil, err
	}
	return process, terminal, nil
}

// descriptors returns the command's descriptors 0, 1 and 2, and its terminal. They are
// those of the asking process (control.Exec), or the slave of a terminal that it opens
// in the container's devpts. The caller closes the Console. The thread must be in the
// container.
func (f *fork) descriptors() ([3]uintptr, *console.Console, error) {
	var files [3]uintptr
	if !f.Terminal {
		files = [3]uintptr{uintptr(f.files[0]), uintptr(f.files[1]), uintptr(f.files[2])}
		if !f.TTY {
			return files, nil, nil
		}
	}
	devpts, err := unix.Open("/dev/pts", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return files, nil, fmt.Errorf("open /dev/pts: %w", err)
	}
	defer unix.Close(devpts)
	terminal, err := console.Open(devpts)
	if err != nil || f.TTY {
		return files, terminal, err
	}
	slave := uintptr(terminal.Slave())
	files = [3]uintptr{slave, slave, slave}
	if len(f.files) == 1 {
		files[2] = uintptr(f.files[0])
	}
	return files, terminal, nil
}

// withTerm returns the plan with a TERM that the container has a description of, or the
// plan itself. The thread must be in the container.
func withTerm(p *plan.Plan) *plan.Plan {
	env := p.Spec.Process.Env
	term := plan.Value(env, "TERM")
	other := plan.FallbackTerm(term, file.IsThere)
	if other == term || plan.Value(env, "TERMINFO") != "" || plan.Value(env, "TERMINFO_DIRS") != "" {
		return p
	}
	changed, process := *p, *p.Spec.Process
	process.Env = plan.WithEntry(slices.Clone(env), "TERM="+other)
	changed.Spec.Process = &process
	return &changed
}
