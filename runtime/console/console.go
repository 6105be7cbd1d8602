// Package console gives a container a terminal of its own, and connects it with the
// user's terminal: what the user types goes in, what the container shows comes out, and
// nothing else passes. It also copies between terminals and pipes, and records what was
// shown.
//
// It is called by package runtime. A launch's locked thread calls Open: once with
// capabilities, for its own command, and confined for each command that joins. All
// other functions are called by the supervisor, and by the process of `exec`, on any
// thread and with no capability effective. A Relay and a Feed each have a goroutine,
// which reads, writes and polls open descriptors, and changes modes of the user's
// terminal.
//
// The package imports runtime/internal/exact, for the text of a recording, and nothing
// else of the project.
//
// Library creack/pty, which the tests use, does not fit here. Its Open opens /dev/ptmx
// and /dev/pts/N of the host by their paths, while a container's terminal is opened by
// the descriptor of the container's own devpts. Its functions for window sizes take an
// os.File, which closes what it is made of when it is forgotten. The descriptors here
// belong to others, such as the user's terminal, or are passed between processes.
package console

import (
	"bytes"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A Console is a pseudo-terminal of a container's devpts. It owns the descriptors of
// the two ends.
type Console struct {
	master, slave int // slave is -1 when it is closed, or was never here
	// Pass, if it is set, gets what a Relay is about to show, and returns what the
	// Relay shows instead.
	Pass func([]byte) []byte
	// Suspend, if it is set, is called when the user has typed the key that stops a
	// job, before the container's terminal gets the key.
	Suspend func()

	reads atomic.Bool // a Relay takes what the user types
}

// Open makes a pseudo-terminal in the devpts whose root directory is open as devpts.
// The slave is opened by its master (TIOCGPTPEER, since Linux 4.13): no path decides
// which terminal it is. The caller must Close the Console.
func Open(devpts int) (*Console, error) {
	master, err := unix.Openat(devpts, "ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open ptmx: %w", err)
	}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		unix.Close(master)
		return nil, fmt.Errorf("unlock terminal: %w", err)
	}
	slave, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		unix.Close(master)
		return nil, fmt.Errorf("open terminal: %w", errno)
	}
	return &Console{master: master, slave: int(slave)}, nil
}

// Slave returns the descriptor of the end that the command gets. The Console still owns
// it.
func (c *Console) Slave() int { return c.slave }

// FromMaster makes a Console of a master that another process has opened by Open. It
// owns the descriptor from here on, and has no slave.
func FromMaster(fd int) *Console { return &Console{master: fd, slave: -1} }

// Master returns the descriptor of the other end. The Console still owns it.
func (c *Console) Master() int { return c.master }

// Number returns the terminal's number, which is its name in its devpts.
func (c *Console) Number() (int, error) {
	number, err := unix.IoctlGetInt(c.master, unix.TIOCGPTN)
	if err != nil {
		return 0, fmt.Errorf("number of terminal: %w", err)
	}
	return number, nil
}

// Foreground returns the process group in the foreground of the terminal, as an id of
// the calling process's PID namespace.
func (c *Console) Foreground() (int, error) { return unix.IoctlGetInt(c.master, unix.TIOCGPGRP) }

// suspends tells whether the user has typed the key that stops a job (^Z, or what the
// container has set), and the container's terminal makes a signal of it.
func (c *Console) suspends(typed []byte) bool {
	m, err := unix.IoctlGetTermios(c.master, unix.TCGETS) // the modes of the slave
	return err == nil && m.Lflag&unix.ISIG != 0 && m.Cc[unix.VSUSP] != 0 && bytes.IndexByte(typed, m.Cc[unix.VSUSP]) >= 0
}

// Reads tells whether a Relay passes on to this Console what the user types now.
func (c *Console) Reads() bool { return c.reads.Load() }

// Resize gives the terminal the window size of another terminal, which is open as from.
func (c *Console) Resize(from int) error {
	size, err := unix.IoctlGetWinsize(from, unix.TIOCGWINSZ)
	if err != nil {
		return fmt.Errorf("read window size: %w", err)
	}
	return unix.IoctlSetWinsize(c.master, unix.TIOCSWINSZ, size)
}

// Close closes both ends.
func (c *Console) Close() error {
	c.closeSlave()
	return unix.Close(c.master)
}

// hangUp ends the terminal as a lost connection does. Its session gets SIGHUP. A
// process that ignores the signal reads the end of the file. The master's descriptor
// stays open, on /dev/null: its number must not become another file's.
func (c *Console) hangUp() {
	nothing, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	_ = unix.Dup3(nothing, c.master, unix.O_CLOEXEC)
	unix.Close(nothing)
}

func (c *Console) closeSlave() {
	if c.slave >= 0 {
		unix.Close(c.slave)
		c.slave = -1
	}
}
