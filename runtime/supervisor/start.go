package supervisor

import (
	"context"
	"errors"
	"syscall"
	"time"

	"mayfly/nsexec"
	"mayfly/runtime/status"
)

// tellOfStart tells the log of a command whose root file system is there, while the
// launch's thread does the rest. A launch that has failed tells how it ended.
func (s *supervisor) tellOfStart(tell func(digest string) error) {
	defer close(s.logged)
	if s.root.err == nil {
		s.unsaid = tell(s.image.Digest())
	}
}

// awaitLog waits for tellOfStart. The launch's thread calls it.
func (s *supervisor) awaitLog() error {
	<-s.logged
	return s.unsaid
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
func (s *supervisor) awaitStart(ctx context.Context) (ended bool, how status.Status, err error) {
	var late <-chan time.Time
	if t := s.Plan.Timeout; t > 0 {
		s.limit = time.After(t)
	}
	end := func(signal syscall.Signal) {
		s.Interrupt.CompareAndSwap(0, int32(signal))
		if late == nil {
			late = time.After(startWithin)
		}
	}
	cancelled := ctx.Done()
	for {
		select {
		case err := <-s.Started:
			return s.begun(ended, how, err)
		case got := <-s.signals:
			if status.Terminates(got) {
				end(got.(syscall.Signal))
			} else if got == syscall.SIGTSTP {
				_ = nsexec.Suspend(false)
			}
		case <-s.limit:
			how.TimedOut = true
			end(syscall.SIGTERM)
		case <-cancelled:
			cancelled = nil
			end(syscall.SIGKILL)
		case <-late:
			late = time.After(startWithin)
			if s.Executing.Load() {
				ended = true
				s.Init.End()
			}
		}
	}
}

// begun tells how the launch has ended: what the command's beginning is, where PID 1
// has been told to end.
func (s *supervisor) begun(ended bool, how status.Status, err error) (bool, status.Status, error) {
	var interrupted status.ErrInterrupted
	if how.TimedOut && errors.As(err, &interrupted) {
		return true, how, nil
	}
	if err != nil {
		return false, status.Status{}, err
	}
	if !ended { // the command runs, maybe past its time
		return false, how, nil
	}
	if _, err := s.Process.Wait(); err != nil {
		return true, how, err
	}
	if how.TimedOut {
		how.Signal = syscall.SIGKILL
		return true, how, nil
	}
	return true, how, status.ErrInterrupted{Signal: syscall.Signal(s.Interrupt.Load())}
}
