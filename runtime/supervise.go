package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/cgroup"
	"mayfly/runtime/console"
	"mayfly/runtime/image"
	"mayfly/runtime/state"
)

// collectAtMost bounds how many snapshots a launch looks at in passing.
const collectAtMost = 64

// supervise waits for the launch, and then for the command, while attend looks
// after both.
func supervise(ctx context.Context, l *launch, signals <-chan os.Signal, store *image.Store) (Status, error) {
	ended, late, err := awaitStart(ctx, l, signals)
	if ended || err != nil {
		return late, err
	}
	relay, kill, err := l.connectTerminals()
	if err != nil {
		_ = l.Process.Signal(syscall.SIGKILL)
		_, _ = l.Process.Wait()
		return Status{}, err
	}
	a := &attendant{launch: l, relay: relay, signals: signals, kill: kill, ended: make(chan struct{}), done: make(chan struct{}), timedOut: late.TimedOut}
	if missed := l.interrupt.Load(); missed != 0 && !a.timedOut { // it came while the command was being started
		a.handle(syscall.Signal(missed))
	}
	if l.relay != nil {
		l.Process.Stopped = func() { offer(l.jobs.stops, struct{}{}) }
	}
	go a.attend(ctx)

	if err := asRoot(l.caller, noCapability, l.serve); err != nil {
		l.note(err.Error())
	}
	if l.lease != nil {
		l.ports.serve(l.plan.Publish, l.lease.Address)
	}
	collectInPassing(ctx, l, store)
	ws, err := l.Process.Wait()
	close(a.ended)
	<-a.done
	status := newStatus(ws)
	status.TimedOut, status.Flooded = a.timedOut, l.output.exceeded()
	return status, err
}

// collectInPassing removes what dead supervisors of the same owner have left, while the command
// runs and the thread has nothing else to do; bounded, so that it is back when the command ends.
// It waits for nobody. What is left of others root collects.
func collectInPassing(ctx context.Context, l *launch, store *image.Store) {
	_ = asRoot(l.caller, rootNeeds(store), func() error {
		used := l.image.Used()
		dead, swept := l.root.record.Sweep()
		if s := l.root.snapshot; !dead && (s == nil || s.Alone) {
			return errors.Join(used, swept)
		}
		uid := l.caller.UID
		_, err := store.Collect(ctx, int64(uid), collectAtMost)
		_, grouped := cgroup.CollectOf(uid, state.IsAlive)
		return errors.Join(used, swept, err, grouped)
	})
}

func terminates(s os.Signal) bool {
	return s == syscall.SIGINT || s == syscall.SIGTERM || s == syscall.SIGHUP || s == syscall.SIGQUIT
}

// connectTerminals connects the user's terminal with the container's, when there
// are two. The channel tells that the user typed the escape.
func (l *launch) connectTerminals() (*console.Relay, <-chan struct{}, error) {
	if l.console == nil {
		return nil, nil, nil
	}
	kill := make(chan struct{}, 1)
	if l.output != nil {
		l.console.Pass = l.output.pass
	}
	l.console.Suspend = func() { l.jobs.keyTyped(l.console) }
	relay, err := startRelay(l.console, l.plan.TTY, kill)
	l.relay = relay
	return relay, kill, err
}

// startRelay connects a terminal of a container's with the user's: with standard input
// and output, or with /dev/tty while somebody has it open. The channel is told that the
// user typed the escape.
func startRelay(c *console.Console, onDemand bool, kill chan<- struct{}) (*console.Relay, error) {
	told := func() { offer(kill, struct{}{}) }
	if !onDemand {
		return c.Start(0, 1, told)
	}
	fd, err := console.OpenOwn()
	if err != nil {
		return nil, fmt.Errorf("open /dev/tty: %w", err)
	}
	relay, err := c.StartOnDemand(fd, told)
	if err != nil {
		unix.Close(fd)
	}
	return relay, err
}

// An attendant forwards signals and keeps the time limit of a running command.
type attendant struct {
	launch   *launch
	relay    *console.Relay
	signals  <-chan os.Signal
	kill     <-chan struct{}
	ended    chan struct{} // closed when the command has ended
	done     chan struct{} // closed when attend has
	timedOut bool          // valid when done
	ending   bool          // the command was told to end
}

func (a *attendant) attend(ctx context.Context) {
	defer close(a.done)
	process := a.launch.Process
	limit := a.launch.limit
	if a.timedOut { // while it was being started
		limit = a.end()
	}
	var full <-chan struct{}
	if o := a.launch.output; o != nil {
		full = o.full
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
		case <-a.launch.jobs.stops:
			a.launch.followCommand()
		case foreground := <-a.launch.jobs.keys:
			if stopByKey(process, foreground) {
				a.launch.suspend(true)
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
func (a *attendant) end() <-chan time.Time {
	a.ending = true
	_ = a.launch.Process.Signal(syscall.SIGTERM)
	return time.After(a.launch.plan.KillAfter)
}

func (a *attendant) handle(got syscall.Signal) {
	process := a.launch.Process
	switch got {
	case syscall.SIGWINCH:
		if a.relay != nil {
			a.relay.Resize()
			a.launch.output.resized()
		}
		return
	case syscall.SIGINT, syscall.SIGQUIT:
		// What a terminal's keys send goes to all of the job, as it would without us.
		_ = process.SignalGroup(got)
		return
	case syscall.SIGTSTP:
		a.launch.stopJob()
		return
	case syscall.SIGCONT:
		a.launch.resume()
		return
	}
	_ = process.Signal(got)
}

// killedWithin bounds how long the processes of a container may take to end that have
// been killed: one may wait for a file system that does not answer.
const killedWithin = 30 * time.Second

// awaitEnd waits until every process of the container has ended. One that could not be
// waited for ends with this process, and keeps PID 1 until then: the others are killed.
func (l *launch) awaitEnd() error {
	if l.init == nil || l.Process != nil && !l.Process.Reaped() {
		return nil
	}
	return l.init.Wait(killedWithin)
}
