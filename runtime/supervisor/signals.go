package supervisor

import (
	"context"
	"syscall"
	"time"

	"mayfly/runtime/job"
)

// A signals passes signals on to a running command and keeps its limits of time and
// output. Its methods run on the goroutine of attend.
type signals struct {
	*supervisor
	kill     <-chan struct{}
	ended    chan struct{} // closed when the command has ended
	done     chan struct{} // closed when attend has returned
	timedOut bool          // valid when done is closed
	ending   bool          // the command was sent SIGTERM for a limit
}

func (a *signals) attend(ctx context.Context) {
	defer close(a.done)
	process := a.Process
	limit := a.limit
	if a.timedOut { // its time was over before it had started
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
			// The limit fires twice: SIGTERM comes first, and SIGKILL after
			// Plan.KillAfter.
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

// end sends the command SIGTERM. The channel fires when it has had time to end.
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
		// The kernel sends what a terminal's keys mean to the whole foreground group.
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
