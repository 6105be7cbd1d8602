package supervisor

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/console"
	"mayfly/runtime/control"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/job"
	"mayfly/runtime/status"
)

// A service answers requests that come by the container's socket: to run a command
// (`exec`), to send a signal, to wait for the end, for the plan, for the network. Only
// the owner and root are admitted. A privileged process reads their messages, so size,
// number and time of these are bounded.
type service struct {
	supervisor *supervisor
	listener   *control.Listener // nil: it does not listen
	working    sync.WaitGroup

	mu      sync.Mutex
	asking  map[*control.Conn]bool // true: has sent no request yet
	stopped bool
	over    chan struct{} // closed when the container has ended
	ended   status.End    // valid when over is closed
}

const (
	// maxAsking bounds how many connections are served at a time.
	maxAsking = 256
	// answerWithin bounds how long the first message of a connection may take.
	answerWithin = 10 * time.Second
	// stopWithin bounds how long the end of the container waits for connections to be
	// served.
	stopWithin = 2 * time.Second
)

// serve listens at the container's socket and answers on goroutines of the service. The
// thread must act on files as root.
func (v *supervisor) serve() error {
	s := &service{supervisor: v, asking: map[*control.Conn]bool{}, over: make(chan struct{})}
	v.service = s
	listener, err := control.Listen(v.root.record.Socket(v.Here))
	if err != nil {
		return fmt.Errorf("nobody can join this container: %w", err)
	}
	s.listener = listener
	s.working.Go(s.accept)
	return nil
}

func (s *service) accept() {
	for {
		c, err := s.listener.Accept(s.supervisor.Plan.Owner.UID, 0)
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

// stop answers the requests to wait with the end of the container's command, and
// returns when all connections are served. Every process of the container must have
// ended.
func (s *service) stop(status status.Status) error {
	if s == nil || s.listener == nil {
		return nil
	}
	s.ended = status.End
	close(s.over)
	s.mu.Lock()
	s.stopped = true
	for c, unclear := range s.asking {
		if unclear {
			c.Hangup()
		}
	}
	s.mu.Unlock()
	closed := s.listener.Close()
	answered := make(chan struct{})
	go func() {
		s.working.Wait()
		close(answered)
	}()
	select {
	case <-answered:
		return closed
	case <-time.After(stopWithin):
		return errors.Join(closed, errors.New("somebody who asked has not been answered"))
	}
}

// answer serves one connection.
func (s *service) answer(c *control.Conn) {
	var q control.Request
	c.Within(answerWithin)
	files, err := c.Receive(&q)
	defer func() { file.CloseAll(files) }()
	if err != nil {
		return
	}
	s.mu.Lock()
	s.asking[c] = false
	s.mu.Unlock()
	switch {
	case q.Exec != nil:
		process, terminal, err := s.supervisor.Ask(*q.Exec, files)
		// The command has copies. A reader may wait until the last copy of a pipe is
		// closed.
		file.CloseAll(files)
		files = nil
		if err != nil {
			_ = c.Send(problem(err))
			return
		}
		s.exec(c, process, terminal)
	case q.Wait:
		s.wait(c)
	case q.Network:
		s.sendNetwork(c)
	case q.Plan:
		_ = c.Send(control.Reply{Plan: s.supervisor.Plan})
	default:
		switch syscall.Signal(q.Signal) {
		case unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
			s.supervisor.jobs.Parked.Store(true)
		case unix.SIGCONT:
			s.supervisor.jobs.Parked.Store(false)
		}
		_ = c.Send(problem(signal(s.supervisor.Process, q)))
	}
}

func problem(err error) control.Reply {
	if err == nil {
		return control.Reply{}
	}
	return control.Reply{Problem: err.Error(), Code: status.ExitCodeOf(err)}
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

// wait answers when the container has ended, or gives up when the peer has hung up.
func (s *service) wait(c *control.Conn) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		c.Within(0)
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

// exec serves the connection of a command that has joined the container. It sends that
// the command has started, stopped and ended, and passes the peer's signals on to it.
// When the peer hangs up the command is killed.
func (s *service) exec(c *control.Conn, process *nsexec.Process, terminal *console.Console) {
	started := make(chan struct{})
	done := make(chan struct{})
	var stopped atomic.Bool // the peer was told, and has not continued it yet
	if terminal != nil {
		process.Stopped = func() {
			<-started
			if job.IsStopped(process.PID) && !stopped.Swap(true) {
				_ = c.Send(control.Reply{Stopped: true})
			}
		}
	}
	go func() {
		defer close(done)
		ws, err := process.Wait()
		<-started
		if err == nil {
			end := status.EndOf(ws)
			_ = c.Send(control.Reply{Ended: &end})
		} else {
			_ = c.Send(problem(err))
		}
		c.Hangup()
	}()
	var err error
	if reply := (control.Reply{Started: true}); terminal != nil {
		err = errors.Join(c.Send(reply, terminal.Master()), terminal.Close())
	} else {
		err = c.Send(reply)
	}
	close(started)
	c.Within(0)
	for err == nil {
		var q control.Request
		var files []int
		files, err = c.Receive(&q)
		file.CloseAll(files)
		switch {
		case err != nil:
		case q.Key != 0:
			if job.StopByKey(process, q.Key) && !stopped.Swap(true) {
				err = c.Send(control.Reply{Stopped: true})
			}
		default:
			if s := syscall.Signal(q.Signal); s == unix.SIGSTOP || s == unix.SIGCONT {
				stopped.Store(s == unix.SIGSTOP)
			}
			err = signal(process, q)
		}
	}
	_ = process.Signal(syscall.SIGKILL)
	<-done
	_ = process.Close()
}
