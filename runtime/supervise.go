package runtime

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"mayfly/runtime/console"
	"mayfly/runtime/image"
)

// forwarded are the signals that the command gets in our place.
var forwarded = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT,
	syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGCONT}

// collectAtMost bounds how many snapshots a launch looks at in passing.
const collectAtMost = 64

// signals are what the process was sent.
type signals struct{ c chan os.Signal }

// listen begins before anything is made, so that nothing made is left by a signal.
func listen() *signals {
	s := &signals{make(chan os.Signal, 16)}
	signal.Notify(s.c, append(forwarded, syscall.SIGWINCH)...)
	return s
}

func (s *signals) stop() { signal.Stop(s.c) }

// supervise launches the command on a thread of its own, forwards signals, keeps
// the time limit, and ends when everything in the container has ended.
func supervise(ctx context.Context, l *launch, s *signals, store *image.Store) (Status, error) {
	var early atomic.Value // the signal that came before the command
	started, ended := make(chan struct{}), make(chan outcome, 1)
	go func() { ended <- launchAndWait(l, &early, started) }()

	for {
		select {
		case got := <-s.c:
			if terminates(got) {
				early.CompareAndSwap(nil, got)
			}
		case o := <-ended:
			if l.Process == nil {
				return finish(l, nil, o, false)
			}
			ended <- o // a short command: what it wrote is still to be shown
			return attend(ctx, l, s, store, ended)
		case <-started:
			return attend(ctx, l, s, store, ended)
		}
	}
}

// outcome is what the launch's thread reports.
type outcome struct {
	status syscall.WaitStatus
	err    error
}

// launchAndWait is all that happens on the launch's thread. PID 1 and all that it
// holds live no longer than this function.
func launchAndWait(l *launch, early *atomic.Value, started chan<- struct{}) outcome {
	err := l.run(func() error {
		if got, ok := early.Load().(os.Signal); ok {
			return ErrInterrupted{got.(syscall.Signal)}
		}
		return nil
	})
	if err != nil {
		return outcome{err: err}
	}
	close(started)
	status, err := l.Process.Wait()
	return outcome{status, err}
}

// attend looks after a running command.
func attend(ctx context.Context, l *launch, s *signals, store *image.Store, ended <-chan outcome) (Status, error) {
	kill := make(chan struct{}, 1)
	relay, err := relay(l, kill)
	if err != nil {
		_ = l.Process.Signal(syscall.SIGKILL)
		return finish(l, nil, outcome{(<-ended).status, err}, false)
	}
	collecting, stopCollecting := context.WithCancel(ctx)
	collected := collectInPassing(collecting, store, l.caller)
	defer func() { stopCollecting(); <-collected }()

	limit := newTimeLimit(l.plan)
	defer limit.stop()
	for {
		select {
		case o := <-ended:
			return finish(l, relay, o, limit.reached)
		case got := <-s.c:
			handle(l, relay, got)
		case <-limit.c:
			limit.strike(l)
		case <-kill:
			_ = l.Process.Signal(syscall.SIGKILL)
		case <-ctx.Done():
			_ = l.Process.Signal(syscall.SIGKILL)
			ctx = context.WithoutCancel(ctx)
		}
	}
}

// relay connects the terminals, when there are two.
func relay(l *launch, kill chan<- struct{}) (*console.Relay, error) {
	if l.Console == nil {
		return nil, nil
	}
	return l.Console.Start(0, 1, func() {
		select {
		case kill <- struct{}{}:
		default:
		}
	})
}

func handle(l *launch, relay *console.Relay, got os.Signal) {
	switch got {
	case syscall.SIGWINCH:
		if l.Console != nil {
			_ = l.Console.Resize(0)
		}
		return
	case syscall.SIGINT, syscall.SIGQUIT:
		// What a terminal's keys send goes to all of the job, as it would without us.
		_ = l.Process.SignalGroup(got.(syscall.Signal))
		return
	case syscall.SIGCONT:
		if relay != nil {
			relay.Continue()
		}
	}
	_ = l.Process.Signal(got.(syscall.Signal))
}

func terminates(s os.Signal) bool {
	return s == syscall.SIGINT || s == syscall.SIGTERM || s == syscall.SIGHUP || s == syscall.SIGQUIT
}

// finish ends what is left of the container: first its processes, which may still
// write to the terminal, then the terminal, then what the launch held.
func finish(l *launch, relay *console.Relay, o outcome, timedOut bool) (Status, error) {
	errs := []error{o.err}
	if l.init != nil {
		errs = append(errs, l.init.Stop())
	}
	if relay != nil {
		errs = append(errs, relay.Stop())
	}
	if l.Console != nil {
		errs = append(errs, l.Console.Close())
	}
	if l.Process != nil {
		errs = append(errs, l.Process.Close())
	}
	errs = append(errs, l.undo.all())
	status := newStatus(o.status)
	status.TimedOut = timedOut
	return status, errors.Join(errs...)
}

// collectInPassing removes what dead supervisors left while the command runs,
// when this one has nothing else to do.
func collectInPassing(ctx context.Context, store *image.Store, caller Caller) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = asRoot(caller, func() error {
			_, err := store.Collect(ctx, collectAtMost)
			return err
		})
	}()
	return done
}

// A timeLimit strikes twice: TERM, and after a while the end of the container.
type timeLimit struct {
	c       <-chan time.Time
	timer   *time.Timer
	reached bool
}

func newTimeLimit(p *Plan) *timeLimit {
	if p.Timeout == 0 {
		return &timeLimit{}
	}
	timer := time.NewTimer(p.Timeout)
	return &timeLimit{c: timer.C, timer: timer}
}

func (t *timeLimit) strike(l *launch) {
	if t.reached {
		_ = l.Process.Signal(syscall.SIGKILL)
		return
	}
	t.reached = true
	_ = l.Process.Signal(syscall.SIGTERM)
	t.timer.Reset(l.plan.KillAfter)
}

func (t *timeLimit) stop() {
	if t.timer != nil {
		t.timer.Stop()
	}
}
