package nsexec

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Process is a running command, of StartCommand. It is a child of the calling
// process, in whichever PID namespace. Its methods may be called from any thread, and
// at the same time, but for Wait and Close.
type Process struct {
	PID   int // in the PID namespace of the calling process
	pidfd int
	file  *os.File // has pidfd, which does not wait (O_NONBLOCK); nil: none
	Dir   int      // of the command's Dirs the index of the one it started in; -1: none of them
	// namespace is the user namespace whose root the command is, so only a root child
	// may signal it; nil: none.
	namespace *UserNamespace
	// Usage is what the command and its reaped descendants have used. Wait sets it.
	Usage syscall.Rusage

	// Stopped, unless nil, is called by Wait, on its goroutine, when a signal has
	// stopped the command. It is set before Wait is called.
	Stopped func()

	mu     sync.Mutex
	reaped bool // PID may be another process's by now
}

// Signal sends a signal to the command. A command that has ended is no error. Where the
// command is root of a user namespace, CAP_SETUID must be permitted to the calling
// thread.
func (p *Process) Signal(signal syscall.Signal) error {
	if p.namespace != nil {
		return ended(killByRoot(p.namespace.Owner, unix.SYS_PIDFD_SEND_SIGNAL, p.pidfd, int(signal), 0, 0))
	}
	return ended(unix.PidfdSendSignal(p.pidfd, signal, nil, 0))
}

// SignalGroup sends a signal to the process group that the command leads, as a terminal
// does for its keys. After Wait has returned it does nothing. The same capability is
// needed as for Signal.
func (p *Process) SignalGroup(signal syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return nil
	}
	if p.namespace != nil {
		return ended(killByRoot(p.namespace.Owner, unix.SYS_KILL, -p.PID, int(signal)))
	}
	return ended(unix.Kill(-p.PID, signal))
}

// ended makes success of the error that a process has ended.
func ended(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// abandonWithin bounds how long abandon waits for the end of the command.
const abandonWithin = 5 * time.Second

// Wait waits for the command to end, reaps it, and returns its wait status. It must be
// called once. Where the kernel does not let it wait, it kills the command, since
// nobody would learn of its end, and returns the error.
//
// A goroutine that waits holds no thread, unless Stopped is set: of a stop no
// descriptor tells.
func (p *Process) Wait() (syscall.WaitStatus, error) {
	// Where the kernel does not let it wait, that is known now and not at the end.
	if p.Stopped == nil && p.file != nil && unix.Waitid(unix.P_PID, p.PID, nil, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil) == nil {
		_ = p.awaitEnd()
	}
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

// awaitEnd waits until the command has ended, by the pidfd, which the Go runtime
// watches. An error means that it does not.
func (p *Process) awaitEnd() error {
	raw, err := p.file.SyscallConn()
	if err != nil {
		return err
	}
	poll := []unix.PollFd{{Fd: int32(p.pidfd), Events: unix.POLLIN}}
	return raw.Read(func(uintptr) bool {
		n, err := unix.Poll(poll, 0)
		return n > 0 || err != nil && err != unix.EINTR
	})
}

// next waits until the command has ended, or, if Stopped is set, until it has been
// stopped. It takes the news of a stop, so that each is told once, and leaves the end
// to be reaped.
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

// reap takes the wait status of the command, which has ended.
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

// abandon kills the command, and reaps it if it ends within abandonWithin.
func (p *Process) abandon() {
	_ = p.Signal(unix.SIGKILL)
	if exits(p.pidfd, abandonWithin) == nil {
		_, _ = p.reap()
	}
}

// Reaped tells whether the command has been reaped. Before that its PID namespace does
// not end (see Init.Wait).
func (p *Process) Reaped() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reaped
}

// exits waits until the process of a pidfd has ended, for the time atMost; then the
// error is ETIMEDOUT.
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

// discard kills and reaps a process whose start has failed, if there is one.
func (p *Process) discard() error {
	if p.PID == 0 {
		return nil
	}
	_ = p.Signal(unix.SIGKILL)
	_, err := wait(p.PID)
	return firstError(err, p.Close())
}

// Close closes the pidfd that Signal uses. It must be called once, after Wait, when no
// other method runs.
func (p *Process) Close() error {
	if p.file != nil {
		return p.file.Close()
	}
	if p.pidfd < 0 {
		return nil
	}
	return unix.Close(p.pidfd)
}

// wait reaps a child of the process.
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
