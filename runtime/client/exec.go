package client

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/term"

	"mayfly/nsexec"
	"mayfly/runtime/console"
	"mayfly/runtime/control"
	"mayfly/runtime/job"
	"mayfly/runtime/output"
	"mayfly/runtime/status"
)

// Exec runs a command in the container and tells how it ended. The supervisor's launch
// thread forks it, as confined as the container's own command. It gets descriptors 0, 1
// and 2 of this process, or a terminal of its own; if it runs as another user than the
// caller, pipes in the place of devices. Signals are passed on to it. The Conn must be
// closed afterwards.
func (l *Conn) Exec(e control.Exec, signals <-chan os.Signal) (how status.Status, err error) {
	j := &remote{conn: l, ended: make(chan remoteEnd, 1), kill: make(chan struct{}, 1), jobs: job.New()}
	e.TTY = e.TTY && !e.Terminal && l.mayAsk()
	files, err := j.streams(e.Terminal)
	if err != nil {
		return status.Status{}, errors.Join(err, j.output.Stop(output.Patience{Signals: signals}))
	}
	defer func() {
		j.feed.Stop()
		err = errors.Join(err, j.output.Stop(output.Patience{Signals: signals}))
	}()
	_, received, err := l.ask(control.Request{Exec: &e}, replyWithin, files...)
	j.output.Started()
	if err != nil {
		return status.Status{}, err
	}
	var terminal *console.Console
	if len(received) == 1 {
		terminal = console.FromMaster(received[0])
	}
	j.feed.StartUnless(terminal)
	l.conn.Within(0)
	if e.Terminal && terminal == nil {
		return status.Status{}, fmt.Errorf("container %s: its supervisor sent no terminal", l.Name)
	}
	if terminal != nil {
		stop, err := j.connect(terminal, e.TTY)
		if err != nil {
			return status.Status{}, err
		}
		defer func() {
			stop()
			err = errors.Join(err, j.relay.Lost())
		}()
	}
	if terminal != nil || j.output != nil || j.feed != nil {
		nsexec.Processors(nsexec.ForCopying)
	}
	go j.await()
	return j.attend(signals)
}

// mayAsk tells whether the command may have the caller's terminal as /dev/tty. A
// command of another owner's container, or of another user, must not write on root's
// terminal or read from it; only root can have such a command. (Root inside of any
// other caller has ids of that caller's.)
func (l *Conn) mayAsk() bool {
	return l.caller.UID == l.UID && (l.AsOwner || l.UID != 0)
}

// A remote is a command that runs in a container by Exec.
type remote struct {
	conn   *Conn
	relay  *console.Relay // nil: no terminal
	feed   *console.Feed  // nil: standard input is not copied
	output *output.Output // nil: the output is not copied
	ended  chan remoteEnd
	kill   chan struct{}
	jobs   job.Control
}

// streams returns the command's descriptors 0, 1 and 2, without those that its own
// terminal takes.
func (j *remote) streams(terminal bool) (files []int, err error) {
	l := j.conn
	anotherUser := l.caller.UID != l.UID || !l.AsOwner
	if terminal && term.IsTerminal(2) {
		return nil, nil
	}
	if anotherUser {
		j.output = output.OfAnother([2]bool{!terminal, true})
	}
	if terminal {
		fd, err := j.standardError()
		return []int{fd}, err
	}
	list, feed, err := output.Streams(anotherUser, j.output, 0)
	j.feed = feed
	for _, fd := range list {
		files = append(files, int(fd))
	}
	return files, err
}

// standardError returns the command's descriptor 2 alone.
func (j *remote) standardError() (int, error) {
	if j.output == nil {
		return 2, nil
	}
	pipes, err := j.output.Pipes()
	return int(pipes[1]), err
}

type remoteEnd struct {
	status status.Status
	err    error
}

// connect connects the user's terminal with the command's. stop ends that and closes
// the terminal.
func (j *remote) connect(terminal *console.Console, onDemand bool) (stop func(), err error) {
	terminal.Suspend = func() { j.jobs.KeyTyped(terminal) }
	j.relay, err = job.StartRelay(terminal, onDemand, j.kill)
	if err != nil {
		return nil, errors.Join(err, terminal.Close())
	}
	return func() {
		_ = j.relay.Stop()
		_ = terminal.Close()
	}, nil
}

// await receives how the command ended, and until then each time that it has stopped.
func (j *remote) await() {
	var r control.Reply
	_, err := j.conn.conn.Receive(&r)
	for err == nil && r.Stopped {
		job.Offer(j.jobs.Stops, struct{}{})
		r = control.Reply{}
		_, err = j.conn.conn.Receive(&r)
	}
	if err == nil && r.Problem != "" {
		j.ended <- remoteEnd{err: fmt.Errorf("container %s: %s", j.conn.Name, r.Problem)}
		return
	}
	if err != nil || r.Ended == nil {
		j.ended <- remoteEnd{err: fmt.Errorf("container %s: its supervisor has ended", j.conn.Name)}
		return
	}
	j.ended <- remoteEnd{status: statusOf(r.Ended)}
}

func (j *remote) attend(signals <-chan os.Signal) (status.Status, error) {
	for {
		select {
		case r := <-j.ended:
			return r.status, r.err
		case <-j.kill:
			j.send(syscall.SIGKILL)
		case foreground := <-j.jobs.Keys:
			_ = j.conn.conn.Send(control.Request{Key: foreground})
		case <-j.jobs.Stops:
			j.suspend(true)
		case got := <-signals:
			j.handle(got.(syscall.Signal))
		}
	}
}

func (j *remote) handle(got syscall.Signal) {
	switch got {
	case syscall.SIGWINCH:
		if j.relay != nil {
			j.relay.Resize()
		}
	case syscall.SIGTSTP:
		j.send(syscall.SIGSTOP)
		j.suspend(false)
	case syscall.SIGCONT:
		if !j.jobs.Resumed {
			j.goOn()
		}
		j.jobs.Resumed = false
	default:
		j.send(got)
	}
}

// suspend stops this process after the command has stopped. When this process is
// continued it continues the command.
func (j *remote) suspend(job bool) {
	if j.relay != nil {
		j.relay.Leave()
	}
	_ = nsexec.Suspend(job)
	j.jobs.Resumed = true
	j.goOn()
}

func (j *remote) goOn() {
	j.send(syscall.SIGCONT)
	if j.relay != nil {
		j.relay.Continue()
	}
}

// send passes a signal on. A signal of the terminal's keys, or one that stops or
// continues a job, is for the command's process group.
func (j *remote) send(s syscall.Signal) {
	group := s == syscall.SIGINT || s == syscall.SIGQUIT || s == syscall.SIGSTOP || s == syscall.SIGCONT
	_ = j.conn.conn.Send(control.Request{Signal: int(s), Group: group})
}

// Signal sends a signal to the container's command.
func (l *Conn) Signal(s syscall.Signal) error {
	_, _, err := l.ask(control.Request{Signal: int(s)}, replyWithin)
	return err
}
