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

// A fork is a command that the launch's thread is asked to start.
type fork struct {
	control.Exec
	files  []int
	result chan forked
}

type forked struct {
	process *nsexec.Process
	console *console.Console
	err     error
}

var errEnding = errors.New("the container is ending")

// Ask has the launch's thread start another command.
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

// startOthers starts what is asked for until the container ends. The thread has been confined: what it forks is
// confined in the same way.
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

// descriptors are the command's 0, 1 and 2: those of whoever asks, or a terminal's.
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

// withTerm is the plan of a command that joins, with a terminal that the container
// knows. It is for a thread in the container.
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
