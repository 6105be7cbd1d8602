// Package job is about a command as a job of the caller's shell: what stops it, has it
// go on, and takes it to the user's terminal. The supervisor uses it for the
// container's command, the client for one that has joined a container.
//
// A job that a shell's user stops is this process and the container's command. The
// kernel cannot stop the command for them: it is the leader of another session, and so
// in an orphaned process group, to which SIGTSTP means nothing. Hence SIGSTOP for its
// group, and SIGCONT when this process goes on. What the policy says of time holds
// meanwhile: PID 1 keeps it.
package job

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

// A Control tells the attendant what may stop the job. It does not wait for the
// kernel's word that the command has stopped: a shell that is just starting a program
// (vfork(2)) is not told to have.
type Control struct {
	Stops   chan struct{} // the command may have been stopped
	Keys    chan int      // ^Z was typed on its terminal, which this process group has
	Parked  atomic.Bool   // the command was stopped by a request
	Resumed bool          // the job has gone on
}

func New() Control {
	return Control{Stops: make(chan struct{}, 1), Keys: make(chan int, 1)}
}

// KeyTyped is called when the user has typed ^Z on the container's terminal. There it
// goes to the job in the foreground, which is a shell's inside.
func (c *Control) KeyTyped(terminal *console.Console) {
	if foreground, err := terminal.Foreground(); err == nil {
		Offer(c.Keys, foreground)
	}
}

// StopByKey stops the command where it is the job in the foreground itself, unless it
// makes something else of the key, as every shell does. It tells whether it has.
func StopByKey(process *nsexec.Process, foreground int) bool {
	return foreground == process.PID && stopsByDefault(foreground) && process.SignalGroup(syscall.SIGSTOP) == nil
}

// Offer sends what need not be known twice.
func Offer[T any](c chan<- T, v T) {
	select {
	case c <- v:
	default:
	}
}

// IsStopped tells whether a process is stopped now.
func IsStopped(pid int) bool {
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
