package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/audit"
)

// tellOfStart tells the log of a command whose root file system is there, while the
// launch's thread does the rest. A launch that has failed tells how it ended.
func (l *launch) tellOfStart(a *Audit) {
	defer close(l.told)
	if l.root.err != nil || a == nil {
		return
	}
	err := a.Started(l.plan, l.image.Digest())
	switch {
	case err == nil, errors.Is(err, audit.ErrLost): // which the end tells
	case errors.Is(err, unix.EMFILE):
		l.untold = fmt.Errorf("%w: is `ulimit -n` too low?", err) // it is the caller's to say, at any moment
	default:
		l.note(err.Error())
	}
}

// startWithin is how long a command may take to be executed once it is to end. What
// takes longer is a program, or a working directory, in a file system that does not
// answer.
const startWithin = time.Second

// awaitStart waits until the command runs. What ends it earlier, a signal, the time
// limit, the context, is looked at by the launch before its next step. The last step
// may never return: the kernel looks up paths of the caller's there, which a file
// system of theirs (FUSE) need not answer. By then the command is a process of the
// container, and PID 1 ends it.
//
// ended tells that it has been ended so; the status is then how.
func awaitStart(ctx context.Context, l *launch, signals <-chan os.Signal) (ended bool, status Status, err error) {
	var late <-chan time.Time
	if t := l.plan.Timeout; t > 0 {
		l.limit = time.After(t)
	}
	end := func(signal syscall.Signal) {
		l.interrupt.CompareAndSwap(0, int32(signal))
		if late == nil {
			late = time.After(startWithin)
		}
	}
	cancelled := ctx.Done()
	for {
		select {
		case err := <-l.started:
			return l.begun(ended, status, err)
		case got := <-signals:
			if terminates(got) {
				end(got.(syscall.Signal))
			} else if got == syscall.SIGTSTP {
				_ = nsexec.Suspend(false)
			}
		case <-l.limit:
			status.TimedOut = true
			end(syscall.SIGTERM)
		case <-cancelled:
			cancelled = nil
			end(syscall.SIGKILL)
		case <-late:
			late = time.After(startWithin)
			if l.executing.Load() {
				ended = true
				l.init.End()
			}
		}
	}
}

// begun tells how the launch has ended: what the command's beginning is, where PID 1
// has been told to end.
func (l *launch) begun(ended bool, status Status, err error) (bool, Status, error) {
	var interrupted ErrInterrupted
	if status.TimedOut && errors.As(err, &interrupted) {
		return true, status, nil
	}
	if err != nil {
		return false, Status{}, err
	}
	if !ended { // the command runs, maybe past its time
		return false, status, nil
	}
	if _, err := l.Process.Wait(); err != nil {
		return true, status, err
	}
	if status.TimedOut {
		status.Signal = syscall.SIGKILL
		return true, status, nil
	}
	return true, status, ErrInterrupted{syscall.Signal(l.interrupt.Load())}
}
