package runtime

import (
	"bytes"
	"fmt"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/internal/file"
)

// A job that a shell's user stops is this process and the container's command. The kernel
// cannot stop the command for them: it is the leader of another session, and so in an
// orphaned process group, to which SIGTSTP means nothing. Hence SIGSTOP for its group, and
// SIGCONT when this process goes on. What the policy says of time holds meanwhile: PID 1
// keeps it.

// suspend stops this process, whose command has been stopped, and has both go on together.
// With job, all of its process group stops: a script that waits for it, the rest of the
// pipeline.
func (l *launch) suspend(job bool) {
	if l.relay != nil {
		l.relay.Leave()
	}
	if err := nsexec.Suspend(job); err != nil {
		l.note(err.Error())
	}
	_ = l.Process.SignalGroup(syscall.SIGCONT)
	if l.relay != nil {
		l.relay.Continue()
	}
}

// stopJob follows a signal that stops the job, which others of it have got, too. With a terminal of its own the command's stop is noticed
// (see commandStopped), whoever has stopped it.
func (l *launch) stopJob() {
	l.stopping.Store(l.relay != nil)
	_ = l.Process.SignalGroup(syscall.SIGSTOP)
	if l.relay == nil {
		l.suspend(false)
	}
}

// commandStopped follows a command on a terminal that has been stopped, as a shell's
// `suspend` does: else nobody could get at the user's terminal. One that was stopped by
// way of our socket goes on the same way, and we have to listen for that.
func (l *launch) commandStopped() {
	if signalled := l.stopping.Swap(false); !l.parked.Load() {
		l.suspend(!signalled)
	}
}

// keyTyped is called when the user has typed ^Z on the container's terminal. There it goes
// to the job in the foreground, which is a shell's inside. Where the command itself is
// that, it stops, unless it makes something else of the key, as every shell does.
func (l *launch) keyTyped() {
	if foreground, err := l.console.Foreground(); err == nil && foreground == l.Process.PID && stopsByDefault(foreground) {
		_ = l.Process.SignalGroup(syscall.SIGSTOP)
	}
}

// stopsByDefault tells whether a process neither ignores nor handles SIGTSTP.
func stopsByDefault(pid int) bool {
	status, err := file.Read(fmt.Sprintf("/proc/%d/status", pid), 64<<10)
	if err != nil {
		return false
	}
	for _, name := range []string{"\nSigIgn:\t", "\nSigCgt:\t"} {
		_, rest, found := bytes.Cut(status, []byte(name))
		text, _, _ := bytes.Cut(rest, []byte("\n"))
		signals, err := strconv.ParseUint(string(text), 16, 64)
		if !found || err != nil || signals&(1<<(unix.SIGTSTP-1)) != 0 {
			return false
		}
	}
	return true
}
