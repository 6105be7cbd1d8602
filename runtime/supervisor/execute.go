// Package supervisor carries out a plan, and is the end of it that stays outside: it provides the root
// file system, waits for the command, hands it signals, keeps its limits, answers who joins, and removes
// what was made.
//
// Package runtime calls Execute. The calling thread stays in the host's namespaces, as do the goroutines
// that serve; the launch has a thread of its own. What acts with root's rights does so in the brackets
// of package privilege.
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
	"mayfly/runtime/image/ref"
	"mayfly/runtime/job"
	"mayfly/runtime/launch"
	"mayfly/runtime/network"
	"mayfly/runtime/output"
	"mayfly/runtime/plan"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/privilege"
	"mayfly/runtime/status"
)

// Signals are those that a program should receive (signal.Notify) and hand to
// Execute, which sends them on to the command.
var Signals = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT,
	syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTSTP, syscall.SIGCONT, syscall.SIGWINCH}

// Options are what the outside world has to do with a run. All fields may be zero.
type Options struct {
	// Signals returns a channel of signals for the command. It is called before anything
	// is made that would outlive the process, and may wait until signals are received.
	Signals func() <-chan os.Signal
	Note    func(text string) // is told what the user should know and is no error
	Warn    func(text string) // is told what the user must know; nil: Note is
	Record  io.Writer         // gets a copy of what is shown, as an asciicast
	// Started is called when the root file system is there and the command is about to be
	// executed, with the digest of the image's version ("": it has none). An error ends the launch.
	Started func(digest string) error
}

func (o *Options) setDefaults() {
	if o.Note == nil {
		o.Note = func(string) {}
	}
	if o.Warn == nil {
		o.Warn = o.Note
	}
	if o.Signals == nil {
		o.Signals = func() <-chan os.Signal { return nil }
	}
	if o.Started == nil {
		o.Started = func(string) error { return nil }
	}
}

// A supervisor is the end of a run that stays outside: it makes the root file system, waits for the
// command, hands it signals, keeps its limits, answers who joins, and removes what was made.
type supervisor struct {
	*launch.Launch
	store   *image.Store
	image   *image.Image
	root    *provision // made on the supervisor's thread while the launch does the rest
	signals <-chan os.Signal
	ports   *network.Published // that are published
	relay   *console.Relay     // nil: not connected
	limit   <-chan time.Time   // tells when the command's time is over; nil: it has no limit
	jobs    job.Control
	service *service      // nil: not listening
	logged  chan struct{} // closed when the log knows of the command, or there is none
	unsaid  error         // why the log cannot be told, where that is the caller's doing; valid then
}

// Execute carries out a plan and leaves nothing behind, however the command ends.
// When the context is done, the container is killed.
//
// The error tells that the command could not be run, with ExitCodeOf its exit
// status; how a command ended that ran is in the Status.
func Execute(ctx context.Context, h here.Here, p *plan.Plan, o Options) (status.Status, error) {
	o.setDefaults()
	if err := p.Check(); err != nil {
		return status.Status{}, err
	}
	if err := errors.Join(privilege.CanLaunch(), nsexec.ResetInheritance()); err != nil {
		return status.Status{}, err
	}
	published, err := network.Publish(hostPorts(p))
	if err != nil {
		return status.Status{}, err
	}
	defer published.Stop()
	store, img, err := open(h, p)
	if err != nil {
		return status.Status{}, err
	}
	defer store.Close()
	defer img.Close()
	if err := privilege.KeepOnly(h, needs(p, store)); err != nil {
		return status.Status{}, err
	}
	userns, err := makeUserNamespace(h, p)
	if err != nil {
		return status.Status{}, err
	}
	if userns != nil {
		defer userns.Close()
	}
	// Whatever is made on the way has the mode that the code says, not what the
	// caller's mask makes of it.
	umask := nsexec.Umask(0o022)
	defer nsexec.Umask(umask)
	s := &supervisor{store: store, image: img, root: newProvision(h, userns), ports: published, jobs: job.New(), logged: make(chan struct{})}
	s.Launch = launch.New(h, p, s.root.Tree, launch.Outside{Note: o.Note, Warn: o.Warn, Recorded: s.root.awaitRecord, Told: s.awaitLog,
		Group: func() *cgroup.Group { return s.root.group }, Userns: userns, Umask: umask,
		Output: output.New(p.OutputLimit, p.Spec.Process.Terminal, p.AnotherUser(), strings.Join(p.Spec.Process.Args, " "), o.Record)})
	return s.run(ctx, o)
}

func hostPorts(p *plan.Plan) []network.Port {
	var list []network.Port
	for _, port := range p.Publish {
		list = append(list, network.Port(port))
	}
	return list
}

// needs are the capabilities that a launch takes. A grant may have come with more.
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

// run makes the root file system while the launch does the rest, and stays with the command until
// its end.
func (s *supervisor) run(ctx context.Context, o Options) (status.Status, error) {
	if overlap {
		s.Start()
	}
	s.signals = o.Signals()
	s.root.Make(s.Plan, s.store, s.image)
	s.tellOfStart(o.Started)
	s.root.ReadAhead(s.Plan)
	if !overlap {
		s.Start()
	}
	began := time.Now()
	status, err := s.supervise(ctx)
	if cleanup := s.finish(status); cleanup != nil {
		err = errors.Join(err, fmt.Errorf("clean up: %w; `runtime gc` tries again", cleanup))
	}
	err = errors.Join(err, s.stopOutput(ctx, status))
	if err := s.Output.EndRecording(); err != nil {
		o.Note(err.Error()) // a record that could not be written is no reason for a build to fail
	}
	if s.Plan.Measure && s.Process != nil {
		status.Used = s.used(began)
	}
	if kills := s.root.used.OOMKills; kills != nil {
		status.OutOfMemory = *kills
	}
	return status, err
}

// stopOutput ends the copying of output, and returns what was lost of it. A command
// that was ended because its time was over leaves what nobody takes.
func (s *supervisor) stopOutput(ctx context.Context, status status.Status) error {
	p := output.Patience{Cancelled: ctx.Done(), Signals: s.signals, Limit: s.limit}
	if status.TimedOut {
		p.Limit = time.After(output.DrainWithin)
	}
	return errors.Join(s.relay.Lost(), s.Output.Stop(p))
}

// ErrReplaced means that the version that was current has been removed since it was looked at. Nothing has been
// done; a new Survey finds the one that is current now.
var ErrReplaced = errors.New("the image was changed meanwhile")

func open(h here.Here, p *plan.Plan) (store *image.Store, img *image.Image, err error) {
	err = privilege.AsRoot(h, privilege.None, func() error {
		if store, err = image.Open(h, p.Root.Store); err != nil {
			return err
		}
		name := ref.Reference{Name: p.Root.Image, Version: p.Root.Version}.String()
		if img, err = openRoot(store, p, name); err != nil {
			if p.Root.Version != 0 && p.Root.Kind != plan.RootSession && errors.Is(err, image.ErrUnknown) {
				err = fmt.Errorf("%w: %w", ErrReplaced, err)
			}
			return errors.Join(err, store.Close())
		}
		return nil
	})
	return store, img, err
}

func openRoot(store *image.Store, p *plan.Plan, name string) (*image.Image, error) {
	switch p.Root.Kind {
	case plan.RootDraft:
		return store.OpenDraft(p.Root.Name)
	case plan.RootSession:
		return store.Session(p.Owner.UID, p.Root.Name)
	case plan.RootVersion, plan.RootSnapshot, plan.RootImage:
		return store.Image(name)
	}
	return nil, fmt.Errorf("root file system of kind %q: none that a launch knows", p.Root.Kind)
}
