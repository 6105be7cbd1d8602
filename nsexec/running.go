package nsexec

import (
	"errors"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Process is a running command. It is a child of the calling process, in
// whatever PID namespace.
type Process struct {
	PID   int
	pidfd int
	Dir   int // which of the command's Dirs it started in, as an index; -1: none of them
	// others: it is root of a user namespace of root's, and the caller may not signal it.
	others bool
	// Usage is what the command and those whom it has waited for have used. It is valid after Wait.
	Usage syscall.Rusage

	mu     sync.Mutex
	reaped bool // the PID may be somebody else's
}

// Signal sends a signal to the command. After the command has ended it does nothing.
func (p *Process) Signal(signal syscall.Signal) error {
	if p.others {
		return ended(asOwner(unix.SYS_PIDFD_SEND_SIGNAL, p.pidfd, int(signal), 0, 0))
	}
	return ended(unix.PidfdSendSignal(p.pidfd, signal, nil, 0))
}

// SignalGroup sends a signal to the command's process group, as a terminal does
// for its keys. After the command has been waited for it does nothing.
func (p *Process) SignalGroup(signal syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return nil
	}
	if p.others {
		return ended(asOwner(unix.SYS_KILL, -p.PID, int(signal)))
	}
	return ended(unix.Kill(-p.PID, signal))
}

func ended(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// Wait waits for the command to end, from any thread, and returns its wait status.
func (p *Process) Wait() (syscall.WaitStatus, error) {
	for {
		err := unix.Waitid(unix.P_PID, p.PID, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return 0, err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reaped = true
	return waitUsage(p.PID, &p.Usage)
}

// discard ends a process that was not to be started, if it is there.
func (p *Process) discard() error {
	if p.PID == 0 {
		return nil
	}
	_ = p.Signal(unix.SIGKILL)
	_, err := wait(p.PID)
	return firstError(err, p.Close())
}

// Close releases the descriptor behind Signal.
func (p *Process) Close() error {
	if p.pidfd < 0 {
		return nil
	}
	return unix.Close(p.pidfd)
}

func wait(pid int) (syscall.WaitStatus, error) { return waitUsage(pid, nil) }

func waitUsage(pid int, usage *syscall.Rusage) (syscall.WaitStatus, error) {
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(pid, &status, 0, usage)
		if err != syscall.EINTR {
			return status, err
		}
	}
}
