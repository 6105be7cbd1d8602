// Package launch takes one thread from the caller's world into the container's: launch.go has the list
// of steps, with the capabilities beside each. The steps that are about the file system are those of
// package rootfs, whose Builder a Launch embeds.
//
// The supervisor starts it, and nobody else. Everything here runs on the launch's thread, which is
// locked and never unlocked, but New, Start and Ask, which the supervisor's goroutines call. It decides
// nothing: it carries out a plan.Plan, and has an error for whatever a plan says that it does not do.
package launch

import (
	"errors"
	"fmt"
	"os"
	goruntime "runtime"
	"sync/atomic"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"mayfly/mount"
	"mayfly/nsexec"
	"mayfly/runtime/cgroup"
	"mayfly/runtime/console"
	"mayfly/runtime/here"
	"mayfly/runtime/inherit"
	"mayfly/runtime/network"
	"mayfly/runtime/output"
	"mayfly/runtime/plan"
	"mayfly/runtime/privilege"
	"mayfly/runtime/rootfs"
	"mayfly/runtime/status"
)

// A Launch takes one locked thread from the caller's world into the container's,
// and forks the command at the end of the way. Read steps from top to bottom: that
// is the whole of it.
type Launch struct {
	rootfs.Builder
	Outside

	Netns   *os.File        // the container's network; nil: the host's
	Lease   *network.Lease  // of its address; nil: it has none
	device  *network.Device // of the host's that it has taken over; nil: none
	entered bool            // the thread is in the command's working directory

	Feed    *console.Feed    // nil: standard input is not copied
	Console *console.Console // the command's terminal; nil: it has none
	Process *nsexec.Process  // nil: not started

	attempts  int           // to start a command
	Interrupt atomic.Int32  // a signal that came before the command was started
	Executing atomic.Bool   // the last step has begun: what hangs now is a process of the container
	Started   chan error    // is told once how the steps ended
	forks     chan fork     // commands to start besides
	Over      chan struct{} // closed when the command has ended
}

// An Outside is what a launch has of its supervisor. The functions wait for what the supervisor makes
// meanwhile.
type Outside struct {
	Note, Warn func(string)         // tell the user something that is no error; and that is not to be missed
	Recorded   func() error         // waits until the container has its record
	Group      func() *cgroup.Group // of the container; nil: it has none
	Told       func() error         // waits until the log knows of the command
	Userns     *os.File             // whose root the command will be; nil: none
	Output     *output.Output       // nil: it is not copied
	Umask      int                  // the caller's
}

// New prepares a launch; start begins it.
func New(h here.Here, p *plan.Plan, rootTree func() (mount.Tree, error), s Outside) *Launch {
	return &Launch{Builder: rootfs.Builder{Here: h, Plan: p, RootTree: rootTree}, Outside: s,
		Started: make(chan error, 1), forks: make(chan fork), Over: make(chan struct{})}
}

// steps is the story of a launch. It runs on a locked thread, whose namespaces,
// ids and capabilities are in the end those of the command.
//
// Beside each step stand the capabilities that are effective while it is taken.
func (l *Launch) steps() []step {
	return []step{
		{"act on files as root", privilege.SetIDs, l.BecomeRootForFiles},
		{"open what is bound from the host", rootfs.SourceCapabilities, l.OpenSources},
		{"make a network", privilege.None, l.makeNetwork},
		{"act on files as root inside", privilege.SetIDs, l.BecomeRootInside},
		{"make namespaces", privilege.SysAdmin, l.makeNamespaces},
		{"start PID 1", privilege.SysAdmin | privilege.SetIDs, l.startInit},
		{"build /dev, /proc and /sys", rootfs.ScratchCapabilities, l.BuildScratch},
		{"take the root file system", privilege.SysAdmin, l.TakeRoot},
		{"keep PID 1", privilege.SetIDs, l.keepInit},
		{"mount", privilege.SysAdmin, l.MountAll},
		{"open a terminal", privilege.SysAdmin, l.openConsole},
		{"enter the root file system", privilege.SysAdmin, l.Pivot},
		{"look for the host's processes", privilege.SysAdmin, l.CoverHostProc},
		{"confine", privilege.SetPCap | privilege.SetIDs, l.confine},
		{"change directory", privilege.None, l.changeDir},
		{"execute", privilege.None, l.execute},
	}
}

type step struct {
	name  string
	raise uint64
	do    func() error
}

// Start takes the steps on a new thread and returns at once. The thread stays, as confined as
// the command, and starts what else is asked for. It is never unlocked: when its goroutine ends,
// the Go runtime throws it away.
func (l *Launch) Start() {
	go func() {
		goruntime.LockOSThread()
		err := l.run()
		l.Started <- err
		// Descriptors of mounts are of no use any more, and the command's running
		// time is a good time to close them.
		l.Undo.All()
		if err == nil {
			l.startOthers()
		}
	}()
}

// run takes the steps, unless a signal comes.
func (l *Launch) run() error {
	for _, s := range l.steps() {
		if signal := l.Interrupt.Load(); signal != 0 {
			return status.ErrInterrupted{Signal: syscall.Signal(signal)}
		}
		if err := s.take(); err != nil {
			var command *status.CommandError
			if errors.As(err, &command) {
				return err
			}
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// take takes a step with its capabilities, which are there to be raised until confine.
func (s step) take() error {
	if s.raise != privilege.None {
		if err := nsexec.SetEffective(s.raise); err != nil {
			return err
		}
	}
	return s.do()
}

// makeNamespaces unshares, and enters the network. From here on the thread has a copy of the host's
// mounts, from which nothing propagates in either direction.
func (l *Launch) makeNamespaces() error {
	flags := 0
	for _, n := range l.Plan.Spec.Linux.Namespaces {
		flag, known := namespaceFlags[n.Type]
		if !known && n.Type != specs.NetworkNamespace && n.Type != specs.UserNamespace { // those are made in steps of their own
			return fmt.Errorf("namespace of kind %s: none that a launch makes", n.Type)
		}
		flags |= flag
	}
	if err := nsexec.Unshare(flags); err != nil {
		return err
	}
	if err := l.enterNetwork(); err != nil {
		return err
	}
	nsexec.Umask(0)
	if err := mount.MakePrivate("/"); err != nil {
		return err
	}
	return nsexec.SetHostname(l.Plan.Spec.Hostname)
}

func (l *Launch) startInit() error {
	init, err := nsexec.StartInit(l.Here.Root(), l.Plan.AtMost())
	if err != nil {
		return err
	}
	l.Init = init
	return nil
}

// keepInit moves PID 1 to where the caller cannot freeze it. The control group is there by now.
func (l *Launch) keepInit() error {
	if !l.Plan.KeepInit {
		return nil
	}
	return privilege.AsRoot(l.Here, privilege.SetIDs, func() error { return cgroup.Keep(l.Group(), l.Init.PID()) })
}

// execute forks the command. Its descriptors are its terminal's, the caller's own 0, 1
// and 2, or pipes; it has no other.
func (l *Launch) execute() error {
	terminal := 0
	if l.Plan.Spec.Process.Terminal {
		terminal = l.Console.Slave()
	}
	files, feed, err := output.Streams(l.Plan.AnotherUser(), l.Output, terminal)
	l.Feed = feed
	if err != nil {
		return err
	}
	// From here on whose command it is may end who would tell.
	if err := l.Told(); err != nil {
		return err
	}
	l.tellOfPlan()
	l.Executing.Store(true)
	process, err := l.startCommand(l.Plan, files, slaveOf(l.Console))
	l.Process = process
	inherit.ClosePassed()
	l.Output.Started()
	if err == nil {
		l.Feed.StartUnless(l.Console)
	}
	return err
}

// tellOfPlan tells what the plan has for the user. A launch that fails says only why.
func (l *Launch) tellOfPlan() {
	for _, text := range l.Plan.Notes {
		l.Note(text)
	}
	for _, text := range l.Plan.Warnings {
		l.Warn(text)
	}
}
