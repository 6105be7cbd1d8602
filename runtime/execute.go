package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"mayfly/nsexec"
	"mayfly/runtime/image"
	"mayfly/runtime/image/ref"
)

// Signals are those that a program should receive (signal.Notify) and hand to
// Execute, which sends them on to the command.
var Signals = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT,
	syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTSTP, syscall.SIGCONT, syscall.SIGWINCH}

// A Supervisor is the outside world's end of a run. All fields may be zero.
type Supervisor struct {
	// Signals returns a channel of signals for the command. It is called before anything
	// is made that would outlive the process, and may wait until signals are received.
	Signals func() <-chan os.Signal
	Note    func(text string) // is told what the user should know and is no error
	Warn    func(text string) // is told what the user must know; nil: Note is
	Record  io.Writer         // gets a copy of what is shown, as an asciicast
	Audit   *Audit            // is told that the command is about to be executed
}

// Run surveys, plans and executes a request.
func Run(ctx context.Context, r Request, s Supervisor) (Status, error) {
	if err := r.Resolve(); err != nil {
		return Status{}, err
	}
	facts, err := Survey(r)
	if err != nil {
		return Status{}, err
	}
	plan, err := NewPlan(r, facts)
	if err != nil {
		return Status{}, err
	}
	return Execute(ctx, plan, facts.Caller, s)
}

// Execute carries out a plan and leaves nothing behind, however the command ends.
// When the context is done, the container is killed.
//
// The error tells that the command could not be run, with ExitCodeOf its exit
// status; how a command ended that ran is in the Status.
func Execute(ctx context.Context, p *Plan, caller Caller, s Supervisor) (Status, error) {
	if s.Note == nil {
		s.Note = func(string) {}
	}
	if s.Warn == nil {
		s.Warn = s.Note
	}
	if s.Signals == nil {
		s.Signals = func() <-chan os.Signal { return nil }
	}
	if err := p.Check(); err != nil {
		return Status{}, err
	}
	if err := errors.Join(CanLaunch(), nsexec.ResetInheritance()); err != nil {
		return Status{}, err
	}
	published, err := listenAll(p.Publish)
	if err != nil {
		return Status{}, err
	}
	defer published.stop()
	store, img, err := open(p, caller)
	if err != nil {
		return Status{}, err
	}
	defer store.Close()
	defer img.Close()

	userns, err := makeUserNamespace(p)
	if err != nil {
		return Status{}, err
	}
	if userns != nil {
		defer userns.Close()
	}

	// Whatever is made on the way has the mode that the code says, not what the
	// caller's mask makes of it.
	umask := nsexec.Umask(0o022)
	defer nsexec.Umask(umask)
	l := &launch{plan: p, caller: caller, note: s.Note, warn: s.Warn, umask: umask,
		store: store, image: img, root: newRootSource(userns), output: newOutput(p, s.Record), ports: published, told: make(chan struct{}), jobs: newJobControl()}
	if overlap {
		l.start()
	}
	signals := s.Signals()
	l.root.Make(p, caller, store, img)
	l.tellOfStart(s.Audit)
	l.root.ReadAhead(p)
	if !overlap {
		l.start()
	}
	began := time.Now()
	status, err := supervise(ctx, l, signals, store)
	if cleanup := l.finish(status); cleanup != nil {
		err = errors.Join(err, fmt.Errorf("clean up: %w; `runtime gc` tries again", cleanup))
	}
	err = errors.Join(err, l.stopOutput(ctx, signals, status))
	if err := l.output.endRecording(); err != nil {
		s.Note(err.Error()) // a record that could not be written is no reason for a build to fail
	}
	if p.Measure && l.Process != nil {
		status.Used = l.used(status, began)
	}
	if kills := l.root.used.OOMKills; kills != nil {
		status.OutOfMemory = *kills
	}
	return status, err
}

// stopOutput ends the copying of output, and returns what was lost of it. A command
// that was ended because its time was over leaves what nobody takes.
func (l *launch) stopOutput(ctx context.Context, signals <-chan os.Signal, status Status) error {
	p := patience{ctx.Done(), signals, l.limit}
	if status.TimedOut {
		p.limit = time.After(drainWithin)
	}
	return errors.Join(l.relay.Lost(), l.output.stop(p))
}

// ErrReplaced means that the version that was current has been removed since it was looked at. Nothing has been
// done; a new Survey finds the one that is current now.
var ErrReplaced = errors.New("the image was changed meanwhile")

func open(p *Plan, caller Caller) (store *image.Store, img *image.Image, err error) {
	err = asRoot(caller, noCapability, func() error {
		if store, err = image.Open(p.Store); err != nil {
			return err
		}
		ref := ref.Reference{Name: p.Image, Version: p.Version}
		if img, err = openImage(store, ref.String(), p.Draft, p.Session, caller); err != nil {
			if p.Version != 0 && p.Session == "" && errors.Is(err, image.ErrUnknown) {
				err = fmt.Errorf("%w: %w", ErrReplaced, err)
			}
			return errors.Join(err, store.Close())
		}
		return nil
	})
	return store, img, err
}
