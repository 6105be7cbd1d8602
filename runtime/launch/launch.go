// Package launch takes one thread from the host's namespaces into the container's and
// forks the command there. launch.go has the list of steps, with the capabilities
// beside each. The steps that build the file system are methods of rootfs.Builder,
// which a Launch embeds.
//
// Package supervisor creates a Launch; no other package does. New, Start and Ask are
// called on the supervisor's goroutines. Everything else runs on the launch's thread,
// which is locked to its goroutine and never unlocked. The package decides nothing: it
// carries out a plan.Plan, and returns an error for anything in the plan that it cannot
// do.
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
	"mayfly/runtime/state"
	"mayfly/runtime/status"
)

// A Launch takes one locked thread from the host's namespaces into the container's. Its
// last step forks the command. Read steps from top to bottom: that is the whole launch.
type Launch struct {
	rootfs.Builder
	Outside

	Netns   *os.File        // network namespace; nil: the host's
	Lease   *network.Lease  // the network's address; nil: it has none
	device  *network.Device // host interface that was moved into Netns; nil: none
	entered bool            // the thread is in the command's working directory

	Feed    *console.Feed    // nil: standard input is not copied
	Console *console.Console // the command's own terminal; nil: none
	Process *nsexec.Process  // nil: the command was not started

	attempts  int          // how many commands the thread has tried to start
	Interrupt atomic.Int32 // signal that came before the command started; 0: none
	// Executing is set when the last step begins. A process that hangs from here on is
	// one of the container's.
	Executing atomic.Bool
	Started   chan error    // receives the error of the steps once, nil for success
	forks     chan fork     // commands of `exec` for the thread to fork
	Over      chan struct{} // closed when the command has ended
	confined  bool          // the thread has given up its capabilities
}

// An Outside is what the supervisor gives to a launch. AwaitRecord and AwaitLog wait for
// the supervisor's thread. Group is read after the root file system has come (see
// rootfs.Builder.TakeRoot).
type Outside struct {
	// Note tells the user what they may want to know, Warn what they must know.
	Note, Warn func(string)
	// AwaitRecord waits until the container has its record. An error means that it gets
	// none.
	AwaitRecord func() error
	// Group returns the container's control group, or nil for none.
	Group func() *cgroup.Group
	// AwaitLog waits until the start is logged. Its error ends the launch.
	AwaitLog func() error
	// Userns is the user namespace that the command will be root of; nil: none.
	Userns *os.File
	Output *output.Output // nil: output is not copied
	Umask  int            // the caller's file mode creation mask
}

// New prepares a launch of a plan; Start begins it. root waits for the root file system
// and returns its detached mounts, which the launch closes. Outside.Userns stays
// the caller's.
func New(h here.Here, p *plan.Plan, root func() (rootfs.Root, error), s Outside) *Launch {
	return &Launch{Builder: rootfs.Builder{Here: h, Plan: p, Root: root}, Outside: s,
		Started: make(chan error, 1), forks: make(chan fork), Over: make(chan struct{})}
}

// steps are the steps of a launch, in order. They run on a locked thread. After the
// last one its namespaces, ids and capabilities are those of the command.
//
// The capabilities beside a step are the thread's effective set when the step begins.
// The two steps after confine have what that leaves.
func (l *Launch) steps() []step {
	p := l.Plan
	return []step{
		{"act on files as root", privilege.SetIDs, l.BecomeRootForFiles, true},
		{"open what is bound from the host", rootfs.SourceCapabilities, l.OpenSources, true},
		{"make a network", privilege.None, l.makeNetwork, p.NetworkMode != ""},
		{"act on files as root inside", privilege.SetIDs, l.BecomeRootInside, p.RootInside()},
		{"make namespaces", privilege.SysAdmin, l.makeNamespaces, true},
		{"start PID 1", privilege.SysAdmin | privilege.SetIDs, l.startInit, true},
		{"build /dev, /proc and /sys", rootfs.ScratchCapabilities, l.BuildScratch, true},
		{"take the root file system", privilege.SysAdmin, l.TakeRoot, true},
		{"keep PID 1", privilege.SetIDs, l.keepInit, p.KeepInit},
		{"mount", privilege.SysAdmin, l.MountAll, true},
		{"open a terminal", privilege.SysAdmin, l.openConsole, p.Spec.Process.Terminal || p.TTY},
		{"enter the root file system", privilege.SysAdmin, l.Pivot, true},
		{"look for the host's processes", privilege.SysAdmin, l.CoverHostProc, true},
		{"watch what is opened", privilege.SysAdmin, l.Watch, p.Watch},
		{"confine", privilege.SetPCap | privilege.SetIDs, l.confine, true},
		{"change directory", privilege.None, l.changeDir, true},
		{"execute", privilege.None, l.execute, true},
	}
}

type step struct {
	name   string
	raise  uint64
	do     func() error
	wanted bool // the plan asks for it
}

// Start takes the steps on a new locked thread and returns at once; Started receives
// their error. After a success the thread stays, as confined as the command, and forks
// the commands that Ask hands over. It ends when Over is closed. The thread is never
// unlocked, so the Go runtime destroys it when its goroutine ends.
func (l *Launch) Start() {
	go func() {
		goruntime.LockOSThread()
		err := l.run()
		l.Started <- err
		// The command runs by now. The descriptors of the mounts are closed meanwhile.
		l.Close()
		if err == nil {
			l.startOthers()
		}
	}()
}

// run takes the steps, and stops between two of them when Interrupt is set.
func (l *Launch) run() error {
	have, err := nsexec.CurrentCapabilities()
	if err != nil {
		return err
	}
	for _, s := range l.steps() {
		if !s.wanted {
			continue
		}
		if signal := l.Interrupt.Load(); signal != 0 {
			return status.ErrInterrupted{Signal: syscall.Signal(signal)}
		}
		if err := l.take(s, &have); err != nil {
			var command *status.CommandError
			if errors.As(err, &command) || errors.Is(err, state.ErrTooMany) {
				return err
			}
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// take makes the step's capabilities effective, and no others, and does the step. have
// are those of the thread, which a step leaves as it finds them. After confine there are
// none to be raised.
func (l *Launch) take(s step, have *nsexec.Capabilities) error {
	if !l.confined && have.Effective != s.raise {
		have.Effective = s.raise
		if err := nsexec.SetCapabilities(have.Permitted, have.Effective); err != nil {
			return err
		}
	}
	return s.do()
}

// makeNamespaces unshares the plan's namespaces and enters the container's network.
// From here on the thread has a copy of the host's mounts, made private: nothing
// propagates in either direction.
func (l *Launch) makeNamespaces() error {
	flags, known := 0, namespaceFlags()
	for _, n := range l.Plan.Spec.Linux.Namespaces {
		flag, makes := known[n.Type]
		// makeNetwork and the supervisor make these two.
		if !makes && n.Type != specs.NetworkNamespace && n.Type != specs.UserNamespace {
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

// keepInit moves PID 1 into a control group where the caller cannot freeze it (see
// cgroup.Keep). The container's control group exists by now.
func (l *Launch) keepInit() error {
	return privilege.AsRoot(l.Here, privilege.SetIDs, func() error { return cgroup.Keep(l.Group(), l.Init.PID()) })
}

// execute forks the command. Its descriptors 0, 1 and 2 are its terminal, the caller's
// own, or pipes. Besides them it gets those of Plan.Descriptors, and no other.
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
	// The log is told first: the caller owns the command, and can kill this process as
	// soon as it runs.
	if err := l.AwaitLog(); err != nil {
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

// tellOfPlan tells the user the plan's notes and warnings. It comes late: a launch that
// fails shows nothing but its error.
func (l *Launch) tellOfPlan() {
	for _, text := range l.Plan.Notes {
		l.Note(text)
	}
	for _, text := range l.Plan.Warnings {
		l.Warn(text)
	}
}
