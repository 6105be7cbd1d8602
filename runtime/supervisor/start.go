package supervisor

import (
	"context"
	"errors"
	"syscall"
	"time"

	"mayfly/nsexec"
	"mayfly/runtime/status"
)

// tellOfStart logs the start of the command when the root file system exists, while the
// launch's thread does the rest. The start of a failed launch is not logged; its end
// is.
func (s *supervisor) tellOfStart(tell func(digest string) error) {
	defer close(s.logged)
	if s.root.err == nil {
		s.logErr = tell(s.image.Digest())
	}
}

// awaitLog waits for tellOfStart. The launch's thread calls it.
func (s *supervisor) awaitLog() error {
	<-s.logged
	return s.logErr
}

// startWithin is how long the last step may take after the command was told to end. A
// step that takes longer waits for a program or working directory in a file system that
// does not answer.
const startWithin = time.Second

// awaitStart waits until the command runs. A signal, the time limit or the context may
// end it before: they set Interrupt, which the launch reads before its next step. The
// last step may never return, since the kernel looks up the caller's paths in it, and a
// file system of the caller's (FUSE) need not answer. The command is a process of the
// container by then, and is ended by way of PID 1.
//
// ended means that the command was ended in this way, and how is then the result.
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
			return s.startResult(ended, how, err)
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

// startResult evaluates the error of the steps. With ended, PID 1 was told to end the
// container, and the command is waited for.
func (s *supervisor) startResult(ended bool, how status.Status, err error) (bool, status.Status, error) {
	var interrupted status.ErrInterrupted
	if how.TimedOut && errors.As(err, &interrupted) {
		return true, how, nil
	}
	if err != nil {
		return false, status.Status{}, err
	}
	if !ended { // the command runs, maybe past its time limit
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
