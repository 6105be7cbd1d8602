// Package job handles a command as a job of the caller's shell: what stops and
// continues it, and its connection to the user's terminal. The supervisor uses it for
// the container's command, the client for a command that has joined a container.
//
// A job that a shell's user stops is this process and the container's command. The
// kernel does not stop the command for a terminal: the command leads another session,
// so its process group is orphaned, and SIGTSTP is ignored there. So its group gets
// SIGSTOP, and SIGCONT when this process is continued. The policy's time limit holds
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

// A Control tells the goroutine that waits for signals what may stop the job. It does
// not wait until the kernel reports that the command has stopped: a shell that is just
// starting a program (vfork(2)) is not reported.
type Control struct {
	Stops chan struct{} // the command may have stopped
	// Keys tells that ^Z was typed on the command's terminal while this process group
	// was in its foreground.
	Keys    chan int
	Parked  atomic.Bool // a request has stopped the command
	Resumed bool        // suspend has continued the job; its SIGCONT may still come
}

// New returns a Control whose channels hold one event each.
func New() Control {
	return Control{Stops: make(chan struct{}, 1), Keys: make(chan int, 1)}
}

// KeyTyped is called when the user has typed ^Z on the container's terminal. The key is
// meant for the job in the foreground there, which may be one of a shell inside.
func (c *Control) KeyTyped(terminal *console.Console) {
	if foreground, err := terminal.Foreground(); err == nil {
		Offer(c.Keys, foreground)
	}
}

// StopByKey stops the command if it is the foreground job itself and neither handles
// nor ignores SIGTSTP, as shells do. It tells whether it has stopped it.
func StopByKey(process *nsexec.Process, foreground int) bool {
	return foreground == process.PID && stopsByDefault(foreground) && process.SignalGroup(syscall.SIGSTOP) == nil
}

// Offer sends v unless the channel is full: the event need not be told twice.
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
