// Package supervisor carries out a plan. It stays outside of the container: it provides
// the root file system, waits for the command, passes signals on to it, keeps its
// limits of time and output, answers requests (for `exec`, for instance), and removes
// what was made.
//
// Package runtime calls Execute. The calling thread and the goroutines that serve stay
// in the host's namespaces; the launch has a thread of its own. Root's rights are taken
// in privilege.AsRoot and privilege.AsUser only.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"mayfly/nsexec"
	"mayfly/runtime/cgroup"
	"mayfly/runtime/console"
	"mayfly/runtime/here"
	"mayfly/runtime/image"
	"mayfly/runtime/inputs"
	"mayfly/runtime/job"
	"mayfly/runtime/launch"
	"mayfly/runtime/network"
	"mayfly/runtime/output"
	"mayfly/runtime/plan"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/privilege"
	"mayfly/runtime/status"
)

// Signals are the signals that a program should receive and hand to Execute, which
// passes them on to the command.
var Signals = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT,
	syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTSTP, syscall.SIGCONT, syscall.SIGWINCH}

// Options connect a run with the program that asked for it. All fields but Store and
// Image may be zero.
type Options struct {
	// Store and Image are the plan's root file system, open (see survey.Root). They
	// stay the caller's.
	Store *image.Store
	Image *image.Image

	Signals <-chan os.Signal  // for the command; nil: none come
	Note    func(text string) // tells the user what they may want to know
	Warn    func(text string) // tells the user what they must know; nil: Note does
	Record  io.Writer         // gets a copy of the output, as an asciicast; nil: none
	// Started is called when the root file system exists and before the command is
	// executed. digest is that of the image's version; "": it has none. An error ends
	// the launch.
	Started func(digest string) error
	// Opened is called when all processes of the container have ended, if the plan says
	// Watch.
	Opened func(inputs.Opened)
}

func (o *Options) setDefaults() {
	if o.Note == nil {
		o.Note = func(string) {}
	}
	if o.Warn == nil {
		o.Warn = o.Note
	}
	if o.Opened == nil {
		o.Opened = func(inputs.Opened) {}
	}
	if o.Started == nil {
		o.Started = func(string) error { return nil }
	}
}

// A supervisor is what stays outside of the container during a run. Its methods run on
// the goroutine of Execute, except those of suspend.go, which run on that of
// signals.attend.
type supervisor struct {
	*launch.Launch
	store   *image.Store
	image   *image.Image
	root    *provision // makes the root file system while the launch does the rest
	signals <-chan os.Signal
	ports   *network.Published // published ports
	relay   *console.Relay     // nil: the terminals are not connected
	limit   <-chan time.Time   // fires at the command's time limit; nil: none
	jobs    job.Control
	service *service // nil: no requests are answered
	opened  func(inputs.Opened)
	logged  chan struct{} // closed when tellOfStart is done
	// logErr is why the start cannot be logged, where the caller has caused that. It is
	// valid when logged is closed.
	logErr error
}

// Execute carries out a plan and leaves nothing behind, however the command ends. When
// the context is done the container is killed.
//
// The error means that the command could not be run; status.ExitCodeOf is its exit
// status. How a command that ran has ended is in the Status. The process must have been
// through privilege.Settle, with LaunchCapabilities permitted.
func Execute(ctx context.Context, h here.Here, p *plan.Plan, o Options) (status.Status, error) {
	o.setDefaults()
	if err := p.Check(); err != nil {
		return status.Status{}, err
	}
	if err := errors.Join(privilege.CanLaunch(), nsexec.ResetInheritance()); err != nil {
		return status.Status{}, err
	}
	published, err := network.Publish(p.Publish)
	if err != nil {
		return status.Status{}, err
	}
	defer published.Stop()
	if err := privilege.KeepOnly(h, needs(p, o.Store)); err != nil {
		return status.Status{}, err
	}
	userns, err := makeUserNamespace(h, p)
	if err != nil {
		return status.Status{}, err
	}
	if userns != nil {
		defer userns.Close()
	}
	// What the launch makes has the mode that the code says. The caller's mask, which
	// is kept for the command, does not change it.
	umask := nsexec.Umask(0o022)
	defer nsexec.Umask(umask)
	s := &supervisor{store: o.Store, image: o.Image, root: newProvision(h, userns), ports: published, jobs: job.New(), opened: o.Opened, logged: make(chan struct{})}
	s.Launch = launch.New(h, p, s.root.Root, launch.Outside{Note: o.Note, Warn: o.Warn, AwaitRecord: s.root.awaitRecord, AwaitLog: s.awaitLog,
		Group: func() *cgroup.Group { return s.root.group }, Userns: userns, Umask: umask,
		Output: output.New(p.OutputLimit, p.Spec.Process.Terminal, p.AnotherUser(), strings.Join(p.Spec.Process.Args, " "), o.Record)})
	return s.run(ctx, o)
}

// needs returns the capabilities that this launch uses. A grant may have given more,
// which KeepOnly gives up.
func needs(p *plan.Plan, store *image.Store) uint64 {
	needed := privilege.LaunchCapabilities
	if !store.BTRFS {
		needed |= privilege.OverlayCapabilities
	}
	if p.NetworkMode == rule.NetworkPrivate || p.NetworkMode == plan.NetworkInterface {
		needed |= privilege.NetworkCapabilities
	}
	return needed
}

// run makes the root file system while the launch's thread does the rest. Then it waits
// for the command and removes what was made.
func (s *supervisor) run(ctx context.Context, o Options) (status.Status, error) {
	// Without a snapshot there is nothing to wait for: the steps of both threads then
	// follow each other, and neither thread wakes the other before the end. With one the
	// Go runtime needs two processors: else the launch's thread would begin when the
	// runtime's monitor has seen that the supervisor's thread waits.
	overlaps := overlap && s.Plan.Root.Kind == plan.RootSnapshot
	if overlaps {
		nsexec.Processors(2)
		s.Start()
	}
	s.signals = o.Signals
	s.root.Make(s.Plan, s.store, s.image)
	s.tellOfStart(o.Started)
	s.root.ReadAhead(s.Plan)
	if !overlaps {
		s.Start()
	}
	began := time.Now()
	status, err := s.supervise(ctx)
	if cleanup := s.finish(status); cleanup != nil {
		err = errors.Join(err, fmt.Errorf("clean up: %w; `runtime gc` tries again", cleanup))
	}
	err = errors.Join(err, s.stopOutput(ctx, status))
	if err := s.Output.EndRecording(); err != nil {
		o.Note(err.Error()) // a failed recording does not fail a build
	}
	if s.Plan.Measure && s.Process != nil {
		status.Used = s.used(began)
	}
	if kills := s.root.used.OOMKills; kills != nil {
		status.OutOfMemory = *kills
	}
	return status, err
}

// stopOutput ends the copying of output, and returns what was lost of it. It waits for
// a slow reader; after a command that was ended for its time, no longer than
// output.DrainWithin.
func (s *supervisor) stopOutput(ctx context.Context, status status.Status) error {
	p := output.Patience{Cancelled: ctx.Done(), Signals: s.signals, Limit: s.limit}
	if status.TimedOut {
		p.Limit = time.After(output.DrainWithin)
	}
	return errors.Join(s.relay.Lost(), s.Output.Stop(p))
}
