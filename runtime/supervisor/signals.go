package supervisor

import (
	"context"
	"syscall"
	"time"

	"mayfly/runtime/job"
)

// A signals forwards signals and keeps the time limit of a running command.
type signals struct {
	*supervisor
	kill     <-chan struct{}
	ended    chan struct{} // closed when the command has ended
	done     chan struct{} // closed when attend has
	timedOut bool          // valid when done
	ending   bool          // the command was told to end
}

func (a *signals) attend(ctx context.Context) {
	defer close(a.done)
	process := a.Process
	limit := a.limit
	if a.timedOut { // while it was being started
		limit = a.end()
	}
	var full <-chan struct{}
	if o := a.Output; o != nil {
		full = o.Full
	}
	cancelled := ctx.Done()
	for {
		select {
		case <-a.ended:
			return
		case got := <-a.signals:
			a.handle(got.(syscall.Signal))
		case <-limit:
			// Twice: TERM, and after a while the end.
			if a.ending {
				_ = process.Signal(syscall.SIGKILL)
				continue
			}
			a.timedOut = true
			limit = a.end()
		case <-full:
			full = nil
			if !a.ending {
				limit = a.end()
			}
		case <-a.jobs.Stops:
			a.followCommand()
		case foreground := <-a.jobs.Keys:
			if job.StopByKey(process, foreground) {
				a.suspend(true)
			}
		case <-a.kill:
			_ = process.Signal(syscall.SIGKILL)
		case <-cancelled:
			_ = process.Signal(syscall.SIGKILL)
			cancelled = nil
		}
	}
}

// end tells the command to end. The channel tells when it has had its time.
func (a *signals) end() <-chan time.Time {
	a.ending = true
	_ = a.Process.Signal(syscall.SIGTERM)
	return time.After(a.Plan.KillAfter)
}

func (a *signals) handle(got syscall.Signal) {
	process := a.Process
	switch got {
	case syscall.SIGWINCH:
		if a.relay != nil {
			a.relay.Resize()
			a.Output.Resized()
		}
		return
	case syscall.SIGINT, syscall.SIGQUIT:
		// What a terminal's keys send goes to all of the job, as it would without us.
		_ = process.SignalGroup(got)
		return
	case syscall.SIGTSTP:
		a.stopJob()
		return
	case syscall.SIGCONT:
		a.resume()
		return
	}
	_ = process.Signal(got)
}
