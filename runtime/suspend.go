package runtime

import (
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/console"
	"mayfly/runtime/internal/file"
)

// A job that a shell's user stops is this process and the container's command. The
// kernel cannot stop the command for them: it is the leader of another session, and so
// in an orphaned process group, to which SIGTSTP means nothing. Hence SIGSTOP for its
// group, and SIGCONT when this process goes on. What the policy says of time holds
// meanwhile: PID 1 keeps it.

// A jobControl tells the attendant what may stop the job. It does not wait for the
// kernel's word that the command has stopped: a shell that is just starting a program
// (vfork(2)) is not told to have.
type jobControl struct {
	stops   chan struct{} // the command may have been stopped
	keys    chan int      // ^Z was typed on its terminal, which this process group has
	parked  atomic.Bool   // the command was stopped by a request
	resumed bool          // the job has gone on
}

func newJobControl() jobControl {
	return jobControl{stops: make(chan struct{}, 1), keys: make(chan int, 1)}
}

// suspend stops this process, whose command has been stopped, and has both go on
// together. With job, all of its process group stops: a script that waits for it, the
// rest of the pipeline.
func (l *launch) suspend(job bool) {
	if l.relay != nil {
		l.relay.Leave()
	}
	if err := nsexec.Suspend(job); err != nil {
		l.note(err.Error())
	}
	l.jobs.resumed = true
	_ = l.Process.SignalGroup(syscall.SIGCONT)
	if l.relay != nil {
		l.relay.Continue()
	}
}

// resume has all of the job go on, when this process does. After suspend all of it does
// already, and the signal that tells of it may come late, when the job is to stop
// again.
func (l *launch) resume() {
	if l.jobs.resumed {
		l.jobs.resumed = false
		return
	}
	if l.relay != nil {
		l.relay.Continue()
	}
	_ = l.Process.SignalGroup(syscall.SIGCONT)
}

// stopJob follows a signal that stops the job, which others of it have got, too.
func (l *launch) stopJob() {
	_ = l.Process.SignalGroup(syscall.SIGSTOP)
	l.suspend(false)
}

// followCommand follows a command on a terminal that has been stopped, as a shell's
// `suspend` does: else nobody could get at the user's terminal. One that was stopped by
// way of our socket goes on the same way, and we have to listen for that.
func (l *launch) followCommand() {
	if !l.jobs.parked.Load() && isStopped(l.Process.PID) {
		l.suspend(true)
	}
}

// keyTyped is called when the user has typed ^Z on the container's terminal. There it
// goes to the job in the foreground, which is a shell's inside.
func (c *jobControl) keyTyped(terminal *console.Console) {
	if foreground, err := terminal.Foreground(); err == nil {
		offer(c.keys, foreground)
	}
}

// stopByKey stops the command where it is the job in the foreground itself, unless it
// makes something else of the key, as every shell does. It tells whether it has.
func stopByKey(process *nsexec.Process, foreground int) bool {
	return foreground == process.PID && stopsByDefault(foreground) && process.SignalGroup(syscall.SIGSTOP) == nil
}

// offer sends what need not be known twice.
func offer[T any](c chan<- T, v T) {
	select {
	case c <- v:
	default:
	}
}

// isStopped tells whether a process is stopped now.
func isStopped(pid int) bool {
	status, err := file.Status(pid)
	return err == nil && strings.HasPrefix(status["State"], "T")
}

// stopsByDefault tells whether a process neither ignores nor handles SIGTSTP.
func stopsByDefault(pid int) bool {
	status, err := file.Status(pid)
	if err != nil {
		return false
	}
	for _, name := range []string{"SigIgn", "SigCgt"} {
		signals, err := strconv.ParseUint(status[name], 16, 64)
		if err != nil || signals&(1<<(unix.SIGTSTP-1)) != 0 {
			return false
		}
	}
	return true
}
