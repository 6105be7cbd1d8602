package nsexec

import (
	"fmt"
	"math"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Command is what StartCommand executes.
type Command struct {
	Path  string // of the program, in the thread's root
	Args  []string
	Env   []string
	Files []uintptr // descriptors 0, 1, 2 ...; all others are closed on exec
	// Terminal makes Files[0] the controlling terminal.
	Terminal bool
}

// A Process is a running command. It is a child of the calling process, in
// whatever PID namespace.
type Process struct {
	PID   int
	pidfd int

	mu     sync.Mutex
	reaped bool // the PID may be somebody else's
}

// StartCommand forks and executes the command as leader of a new session, with
// everything that the calling thread has been confined to. An error is the
// errno of execve(2) or of a step before it.
//
// Every descriptor from 3 on closes on exec, also those that somebody else left
// open in this process (close_range(2) CLOSE_RANGE_CLOEXEC, since Linux 5.11).
func StartCommand(c Command) (*Process, error) {
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return nil, fmt.Errorf("close_range: %w", err)
	}
	p := &Process{pidfd: -1}
	pid, err := syscall.ForkExec(c.Path, c.Args, &syscall.ProcAttr{
		Env:   c.Env,
		Files: c.Files,
		Sys:   &syscall.SysProcAttr{Setsid: true, Setctty: c.Terminal, PidFD: &p.pidfd},
	})
	if err != nil {
		return nil, err
	}
	p.PID = pid
	return p, nil
}

// Signal sends a signal to the command. After the command has ended it does nothing.
func (p *Process) Signal(signal syscall.Signal) error {
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
	return ended(unix.Kill(-p.PID, signal))
}

func ended(err error) error {
	if err == unix.ESRCH {
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
	return wait(p.PID)
}

// Close releases the descriptor behind Signal.
func (p *Process) Close() error {
	if p.pidfd < 0 {
		return nil
	}
	return unix.Close(p.pidfd)
}

func wait(pid int) (syscall.WaitStatus, error) {
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(pid, &status, 0, nil)
		if err != syscall.EINTR {
			return status, err
		}
	}
}
