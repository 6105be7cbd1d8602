package runtime

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/console"
	"mayfly/runtime/control"
)

// A service answers those who join a container, signal it, wait for it or look at it. They are its owner and
// root; what they say is looked at by a process with privilege, so it is bounded in size, number and time.
type service struct {
	launch   *launch
	listener *control.Listener // nil: not listening
	working  sync.WaitGroup

	mu      sync.Mutex
	asking  map[*control.Conn]bool // true: has not said what it wants
	stopped bool
	over    chan struct{} // closed when the container has ended
	ended   control.Ended // valid then
}

const (
	// maxAsking bounds how many are answered at a time.
	maxAsking = 256
	// answerWithin bounds how long a single message may take.
	answerWithin = 10 * time.Second
	// stopWithin bounds how long the end of the container waits for answers.
	stopWithin = 2 * time.Second
)

// serve begins to answer. The thread must act on files as root.
func (l *launch) serve() error {
	s := &service{launch: l, asking: map[*control.Conn]bool{}, over: make(chan struct{})}
	l.service = s
	listener, err := control.Listen(l.root.record.Socket())
	if err != nil {
		return fmt.Errorf("nobody can join this container: %w", err)
	}
	s.listener = listener
	s.working.Go(s.accept)
	return nil
}

func (s *service) accept() {
	for {
		c, err := s.listener.Accept(s.launch.caller.UID, 0)
		if err != nil {
			return
		}
		if !s.admit(c) {
			_ = c.Close()
			continue
		}
		s.working.Go(func() {
			defer s.dismiss(c)
			s.answer(c)
		})
	}
}

func (s *service) admit(c *control.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped || len(s.asking) >= maxAsking {
		return false
	}
	s.asking[c] = true
	return true
}

func (s *service) dismiss(c *control.Conn) {
	s.mu.Lock()
	delete(s.asking, c)
	s.mu.Unlock()
	_ = c.Close()
}

// stop tells those who wait how the container's command has ended, and returns when all are answered. Every
// process of the container must have ended.
func (s *service) stop(status Status) error {
	if s == nil || s.listener == nil {
		return nil
	}
	s.ended = control.Ended{Code: status.Code, Signal: int(status.Signal), TimedOut: status.TimedOut}
	close(s.over)
	s.mu.Lock()
	s.stopped = true
	for c, unclear := range s.asking {
		if unclear {
			c.Hangup()
		}
	}
	s.mu.Unlock()
	s.listener.Hangup()
	answered := make(chan struct{})
	go func() {
		s.working.Wait()
		close(answered)
	}()
	select {
	case <-answered:
		return s.listener.Close()
	case <-time.After(stopWithin):
		return errors.New("somebody who asked has not been answered")
	}
}

// answer answers one connection.
func (s *service) answer(c *control.Conn) {
	var q control.Request
	if c.Within(answerWithin) != nil {
		return
	}
	files, err := c.Receive(&q)
	if err != nil {
		return
	}
	defer func() {
		for _, fd := range files {
			unix.Close(fd)
		}
	}()
	s.mu.Lock()
	s.asking[c] = false
	s.mu.Unlock()
	switch {
	case q.Exec != nil:
		s.exec(c, *q.Exec, files)
	case q.Wait:
		s.wait(c)
	case q.Plan:
		_ = c.Send(control.Reply{Plan: s.launch.plan})
	default:
		_ = c.Send(problem(signal(s.launch.Process, q)))
	}
}

func problem(err error) control.Reply {
	if err == nil {
		return control.Reply{}
	}
	return control.Reply{Problem: err.Error(), Code: ExitCodeOf(err)}
}

func signal(process *nsexec.Process, q control.Request) error {
	if q.Signal < 1 || q.Signal > 64 {
		return fmt.Errorf("signal %d: %w", q.Signal, unix.EINVAL)
	}
	if q.Group {
		return process.SignalGroup(syscall.Signal(q.Signal))
	}
	return process.Signal(syscall.Signal(q.Signal))
}

// wait answers when the container has ended, unless the other has gone.
func (s *service) wait(c *control.Conn) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_ = c.Within(0)
		_, _ = c.Receive(&struct{}{})
	}()
	select {
	case <-s.over:
		_ = c.Send(control.Reply{Ended: &s.ended})
	case <-gone:
	}
	c.Hangup()
	<-gone
}

// exec runs another command in the container, and passes signals to it. When the other goes, so does the command.
func (s *service) exec(c *control.Conn, e control.Exec, files []int) {
	process, terminal, err := s.launch.ask(e, files)
	if err != nil {
		_ = c.Send(problem(err))
		return
	}
	started := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		ws, err := process.Wait()
		<-started
		status := newStatus(ws)
		if err == nil {
			_ = c.Send(control.Reply{Ended: &control.Ended{Code: status.Code, Signal: int(status.Signal)}})
		}
		c.Hangup()
	}()
	reply := control.Reply{Started: true}
	if terminal != nil {
		err = c.Send(reply, terminal.Master())
		err = errors.Join(err, terminal.Close())
	} else {
		err = c.Send(reply)
	}
	close(started)
	for err == nil && c.Within(0) == nil {
		var q control.Request
		var extra []int
		extra, err = c.Receive(&q)
		files = append(files, extra...)
		if err == nil && (len(extra) > 0 || signal(process, q) != nil) {
			err = unix.EPROTO
		}
	}
	_ = process.Signal(syscall.SIGKILL)
	<-done
	_ = process.Close()
	for _, fd := range files[min(len(files), 3):] {
		unix.Close(fd)
	}
}

// A fork is a command that the launch's thread is asked to start.
type fork struct {
	control.Exec
	files  []int
	result chan forked
}

type forked struct {
	process *nsexec.Process
	console *console.Console
	err     error
}

var errEnding = errors.New("the container is ending")

// ask has the launch's thread start another command.
func (l *launch) ask(e control.Exec, files []int) (*nsexec.Process, *console.Console, error) {
	if len(e.Args) == 0 || e.Terminal && len(files) != 0 || !e.Terminal && len(files) != 3 {
		return nil, nil, unix.EINVAL
	}
	f := fork{e, files, make(chan forked, 1)}
	select {
	case l.forks <- f:
		r := <-f.result
		return r.process, r.console, r.err
	case <-l.over:
		return nil, nil, errEnding
	}
}

// startOthers starts what is asked for until the container ends. The thread has been confined: what it forks is
// confined in the same way.
func (l *launch) startOthers() {
	for {
		select {
		case f := <-l.forks:
			var r forked
			r.process, r.console, r.err = l.fork(f)
			f.result <- r
		case <-l.over:
			return
		}
	}
}

func (l *launch) fork(f fork) (*nsexec.Process, *console.Console, error) {
	plan := l.plan.with(f.Exec)
	if err := l.enterDir(plan); err != nil {
		return nil, nil, err
	}
	files, terminal, err := f.descriptors()
	if err != nil {
		return nil, nil, err
	}
	process, err := l.startCommand(plan, files, terminal != nil)
	if err != nil {
		if terminal != nil {
			err = errors.Join(err, terminal.Close())
		}
		return nil, nil, err
	}
	return process, terminal, nil
}

// with is the plan with another command.
func (p *Plan) with(e control.Exec) *Plan {
	other, process := *p, *p.Spec.Process
	env := newEnviron(process.Env...)
	for _, entry := range e.Env {
		env.set(entry)
	}
	process.Args, process.Env = e.Args, env.list
	if e.Dir != "" {
		process.Cwd, other.DirRequired = e.Dir, true
	}
	other.Login, other.Fallback, other.Spec.Process = false, nil, &process
	return &other
}

// descriptors are the command's 0, 1 and 2: those of whoever asks, or a terminal's.
func (f *fork) descriptors() ([3]uintptr, *console.Console, error) {
	if !f.Terminal {
		return [3]uintptr{uintptr(f.files[0]), uintptr(f.files[1]), uintptr(f.files[2])}, nil, nil
	}
	devpts, err := unix.Open("/dev/pts", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return [3]uintptr{}, nil, fmt.Errorf("open /dev/pts: %w", err)
	}
	defer unix.Close(devpts)
	terminal, err := console.Open(devpts)
	if err != nil {
		return [3]uintptr{}, nil, err
	}
	slave := uintptr(terminal.Slave())
	return [3]uintptr{slave, slave, slave}, terminal, nil
}
