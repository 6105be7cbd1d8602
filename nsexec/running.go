package nsexec

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

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

	// Stopped, where it is set, is called by Wait when the command has been stopped.
	Stopped func()

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

// abandonWithin bounds how long a command that cannot be waited for may take to be
// killed.
const abandonWithin = 5 * time.Second

// Wait waits for the command to end, from any thread, and returns its wait status. A
// command that cannot be waited for is killed, since nobody would know of its end.
func (p *Process) Wait() (syscall.WaitStatus, error) {
	for {
		stopped, err := p.next()
		if stopped {
			p.Stopped()
			continue
		}
		if err == nil {
			break
		}
		if err != unix.EINTR {
			p.abandon()
			return 0, fmt.Errorf("wait for the command: %w", err)
		}
	}
	return p.reap()
}

// next waits until the command has ended, or has been stopped and somebody wants to
// know. That is told once; its end stays to be waited for.
func (p *Process) next() (stopped bool, err error) {
	if p.Stopped == nil {
		return false, unix.Waitid(unix.P_PID, p.PID, nil, unix.WEXITED|unix.WNOWAIT, nil)
	}
	var info unix.Siginfo
	err = unix.Waitid(unix.P_PID, p.PID, &info, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT, nil)
	const childStopped = 5 // CLD_STOPPED
	if err != nil || info.Code != childStopped {
		return false, err
	}
	err = unix.Waitid(unix.P_PID, p.PID, nil, unix.WSTOPPED|unix.WNOHANG, nil)
	return err == nil, err
}

// reap takes the wait status of a command that has ended.
func (p *Process) reap() (syscall.WaitStatus, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	status, err := waitUsage(p.PID, &p.Usage)
	p.reaped = err == nil
	if err != nil {
		return 0, fmt.Errorf("wait for the command: %w", err)
	}
	return status, nil
}

// abandon kills a command and reaps it if the kernel lets us.
func (p *Process) abandon() {
	_ = p.Signal(unix.SIGKILL)
	if exits(p.pidfd, abandonWithin) == nil {
		_, _ = p.reap()
	}
}

// Reaped tells that the command has been waited for. Before that its PID namespace does
// not end.
func (p *Process) Reaped() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reaped
}

// exits waits until a process has ended, of which there is a pidfd, for a time at most.
func exits(pidfd int, atMost time.Duration) error {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for end := time.Now().Add(atMost); ; {
		n, err := unix.Poll(fds, int(max(time.Until(end), 0).Milliseconds()))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err
		case n == 0:
			return unix.ETIMEDOUT
		default:
			return nil
		}
	}
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
