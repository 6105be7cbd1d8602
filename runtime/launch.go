package runtime

import (
	"errors"
	"fmt"
	"os"
	goruntime "runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/nsexec"
	"mayfly/runtime/cgroup"
	"mayfly/runtime/console"
	"mayfly/runtime/image"
	"mayfly/runtime/network"
)

// A launch takes one locked thread from the caller's world into the container's,
// and forks the command at the end of the way. Read steps from top to bottom: that
// is the whole of it.
type launch struct {
	plan   *Plan
	caller Caller
	note   func(string) // tells the user something that is no error
	warn   func(string) // and that is not to be missed

	store      *image.Store
	image      *image.Image
	root       *rootSource // the snapshot, made on another thread meanwhile
	sources    *sources    // what is mounted from the host
	init       *nsexec.Init
	scratch    *scratch
	tree       mount.Tree      // the container's root file system
	rootID     uint64          // the id of its mount
	devIDs     []uint64        // and of those in /dev
	threadProc int             // the thread's directory in the host's procfs, until the end
	netns      *os.File        // the container's network; nil: the host's
	lease      *network.Lease  // of its address; nil: it has none
	device     *network.Device // of the host's that it has taken over; nil: none
	umask      int             // the caller's
	entered    bool            // the thread is in the command's working directory

	feed    *console.Feed    // nil: standard input is not copied
	output  *output          // nil: it is not copied
	ports   *ports           // that are published
	console *console.Console // the command's terminal; nil: it has none
	relay   *console.Relay   // nil: not connected
	Process *nsexec.Process  // nil: not started

	attempts  int              // to start a command
	interrupt atomic.Int32     // a signal that came before the command was started
	limit     <-chan time.Time // tells when the command's time is over; nil: it has no limit
	executing atomic.Bool      // the last step has begun: what hangs now is a process of the container
	jobs      jobControl
	told      chan struct{} // closed when the log knows of the command, or there is none
	untold    error         // why the log cannot be told, where that is the caller's doing
	started   chan error    // is told once how the steps ended
	forks     chan fork     // commands to start besides
	over      chan struct{} // closed when the command has ended
	service   *service      // nil: not listening
	undo      undo
}

// steps is the story of a launch. It runs on a locked thread, whose namespaces,
// ids and capabilities are in the end those of the command.
//
// Beside each step stand the capabilities that are effective while it is taken.
func (l *launch) steps() []step {
	return []step{
		{"act on files as root", capSetIDs, l.becomeRootForFiles},
		{"open what is bound from the host", openSourcesNeeds, l.openSources},
		{"make a network", noCapability, l.makeNetwork},
		{"act on files as root inside", capSetIDs, l.becomeRootInside},
		{"make namespaces", capSysAdmin, l.makeNamespaces},
		{"start PID 1", capSysAdmin | capSetIDs, l.startInit},
		{"build /dev, /proc and /sys", scratchNeeds, l.buildScratch},
		{"take the root file system", capSysAdmin, l.takeRoot},
		{"keep PID 1", capSetIDs, l.keepInit},
		{"mount", capSysAdmin, l.mountAll},
		{"open a terminal", capSysAdmin, l.openConsole},
		{"enter the root file system", capSysAdmin, l.pivot},
		{"look for the host's processes", capSysAdmin, l.coverHostProc},
		{"confine", capSetPCap | capSetIDs, l.confine},
		{"change directory", noCapability, l.changeDir},
		{"execute", noCapability, l.execute},
	}
}

type step struct {
	name  string
	raise uint64
	do    func() error
}

// start takes the steps on a new thread and returns at once. The thread stays, as confined as
// the command, and starts what else is asked for. It is never unlocked: when its goroutine ends,
// the Go runtime throws it away.
func (l *launch) start() {
	l.started = make(chan error, 1)
	l.forks, l.over = make(chan fork), make(chan struct{})
	go func() {
		goruntime.LockOSThread()
		err := l.run()
		l.started <- err
		// Descriptors of mounts are of no use any more, and the command's running
		// time is a good time to close them.
		l.undo.all()
		if err == nil {
			l.startOthers()
		}
	}()
}

// run takes the steps, unless a signal comes.
func (l *launch) run() error {
	for _, s := range l.steps() {
		if signal := l.interrupt.Load(); signal != 0 {
			return ErrInterrupted{syscall.Signal(signal)}
		}
		if err := s.take(); err != nil {
			var command *CommandError
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
	if s.raise != noCapability {
		if err := nsexec.SetEffective(s.raise); err != nil {
			return err
		}
	}
	return s.do()
}

// becomeRootForFiles makes what the thread creates belong to root, with its exact
// mode, and lets it enter the store.
func (l *launch) becomeRootForFiles() error {
	return nsexec.ActOnFilesAsRoot(capSetIDs)
}

func (l *launch) openSources() error {
	sources, err := openSources(l.plan, l.caller)
	l.sources = sources
	l.undo.add(sources.Close)
	return err
}

// makeNamespaces unshares, and enters the network. From here on the thread has a copy of the host's
// mounts, from which nothing propagates in either direction.
func (l *launch) makeNamespaces() error {
	flags := 0
	for _, n := range l.plan.Spec.Linux.Namespaces {
		flags |= namespaceFlags[n.Type]
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
	return nsexec.SetHostname(l.plan.Spec.Hostname)
}

func (l *launch) startInit() error {
	init, err := nsexec.StartInit(l.plan.atMost())
	if err != nil {
		return err
	}
	l.init = init
	return nil
}

// keepInit moves PID 1 to where the caller cannot freeze it. The control group is there by now.
func (l *launch) keepInit() error {
	if !l.plan.KeepInit {
		return nil
	}
	err := nsexec.ActOnFilesAsRoot(capSetIDs)
	if err == nil {
		err = cgroup.Keep(l.root.group, l.init.PID())
	}
	return errors.Join(err, l.becomeRootInside())
}

// takeRoot waits for the snapshot.
func (l *launch) takeRoot() error {
	tree, err := l.root.Tree()
	if err != nil {
		return err
	}
	l.tree = tree
	l.undo.add(tree.Close)
	return l.scratch.attachRoot(tree)
}

// execute forks the command. Its descriptors are its terminal's, the caller's own 0, 1
// and 2, or pipes; it has no other.
func (l *launch) execute() error {
	terminal := 0
	if l.plan.Spec.Process.Terminal {
		terminal = l.console.Slave()
	}
	files, feed, err := streams(l.plan.anotherUser(), l.output, terminal)
	l.feed = feed
	if err != nil {
		return err
	}
	<-l.told // from here on whose command it is may end who would tell
	if l.untold != nil {
		return l.untold
	}
	l.tellOfPlan()
	l.executing.Store(true)
	process, err := l.startCommand(l.plan, files, slaveOf(l.console))
	l.Process = process
	l.closePassed()
	l.output.started()
	if err == nil {
		l.feed.StartUnless(l.console)
	}
	return err
}

// tellOfPlan tells what the plan has for the user. A launch that fails says only why.
func (l *launch) tellOfPlan() {
	for _, text := range l.plan.Notes {
		l.note(text)
	}
	for _, text := range l.plan.Warnings {
		l.warn(text)
	}
}

// finish ends what is left of the container: its processes, which may still write
// to the terminal, then the terminal, then what the launch held. While the kernel
// ends the processes, the snapshot is deleted; what they have open in it stays theirs.
func (l *launch) finish(status Status) error {
	var errs []error
	close(l.over)
	if l.init != nil {
		l.init.Kill()
	}
	errs = append(errs, asRoot(l.caller, rootNeeds(l.store), l.root.Remove))
	errs = append(errs, l.awaitEnd())
	if len(l.root.replaced) > 0 {
		errs = append(errs, asRoot(l.caller, rootNeeds(l.store), l.root.restore))
	}
	l.feed.Stop()
	if l.relay != nil {
		errs = append(errs, l.relay.Stop())
	}
	if l.console != nil {
		errs = append(errs, l.console.Close())
	}
	errs = append(errs, l.service.stop(status), l.releaseNetwork())
	if l.netns != nil {
		errs = append(errs, l.netns.Close())
	}
	if l.Process != nil {
		errs = append(errs, l.Process.Close())
	}
	if l.threadProc > 0 {
		errs = append(errs, unix.Close(l.threadProc))
	}
	return errors.Join(errs...)
}
