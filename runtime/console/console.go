// Package console gives a container a terminal of its own, and connects it with
// the user's: what is typed goes in, what is shown comes out, nothing else does.
package console

import (
	"bytes"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A Console is a pseudo-terminal of a container's devpts.
type Console struct {
	master, slave int
	// Pass, where it is set, is told what a Relay is about to show, and returns how much of it is to be shown.
	Pass func([]byte) []byte
	// Suspend, where it is set, is called when the key that stops a job was typed,
	// before the terminal gets it.
	Suspend func()

	reads atomic.Bool
}

// Open makes a pseudo-terminal in the devpts whose root directory is open as
// devpts. The slave is opened by its master (TIOCGPTPEER, since Linux 4.13): no
// path decides which terminal it is. The holder must Close it.
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

// Slave returns the descriptor that the command gets, owned by the Console.
func (c *Console) Slave() int { return c.slave }

// FromMaster takes ownership of a master that Open returned elsewhere.
func FromMaster(fd int) *Console { return &Console{master: fd, slave: -1} }

// Master returns the descriptor of the terminal's other end, owned by the Console.
func (c *Console) Master() int { return c.master }

// Number is the terminal's name in its devpts.
func (c *Console) Number() (int, error) {
	number, err := unix.IoctlGetInt(c.master, unix.TIOCGPTN)
	if err != nil {
		return 0, fmt.Errorf("number of terminal: %w", err)
	}
	return number, nil
}

// Foreground is the process group that has the terminal, as the calling process counts.
func (c *Console) Foreground() (int, error) { return unix.IoctlGetInt(c.master, unix.TIOCGPGRP) }

// suspends tells whether the key that stops a job (^Z) is among what was typed.
func (c *Console) suspends(typed []byte) bool {
	m, err := unix.IoctlGetTermios(c.master, unix.TCGETS) // of the other end
	return err == nil && m.Lflag&unix.ISIG != 0 && m.Cc[unix.VSUSP] != 0 && bytes.IndexByte(typed, m.Cc[unix.VSUSP]) >= 0
}

// Reads tells whether what the user types goes there now.
func (c *Console) Reads() bool { return c.reads.Load() }

// Resize gives the terminal the window size of another.
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

// hangUp ends the terminal as a lost connection does: its session gets SIGHUP, and whoever ignores that, the end of what
// there is to read. The descriptor stays, of nothing.
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
