package console

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// A Feed copies from a terminal, or another device, into a pipe, which a command gets
// as its standard input in place of the device.
//
// The pipe holds one page at most, and takes more only when the command has read all of
// it. So a line that is typed ahead stays in the terminal for the next program, but for
// one: nobody can tell whether the reader of a pipe waits.
type Feed struct {
	from    int
	pipe    [2]int // the command's end, and ours
	wake    [2]int // the second is closed by Stop
	started bool
	// unless what is typed goes there; nil: it goes nowhere else
	unless *Console
}

// feedAtMost is what is read at a time, in bytes: the smallest page holds it.
const feedAtMost = 4096

// foregroundAgain is how often a process in the background looks whether it is in the
// foreground of its terminal: the kernel tells nobody who has not been stopped.
const foregroundAgain = 200 * time.Millisecond

// NewFeed makes a Feed of a descriptor that stays its owner's. The holder must call
// Stop.
func NewFeed(from int) (*Feed, error) {
	f := &Feed{from: from}
	if err := unix.Pipe2(f.pipe[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	if err := unix.Pipe2(f.wake[:], unix.O_CLOEXEC); err != nil {
		unix.Close(f.pipe[0])
		unix.Close(f.pipe[1])
		return nil, fmt.Errorf("pipe: %w", err)
	}
	_, _ = unix.FcntlInt(uintptr(f.pipe[1]), unix.F_SETPIPE_SZ, feedAtMost) // a larger one reads further ahead
	return f, nil
}

// Command returns the descriptor for the command, owned by the Feed.
func (f *Feed) Command() int { return f.pipe[0] }

// Start begins to copy. The command has its end by now: the copying ends when it closes
// that.
func (f *Feed) Start() {
	if f != nil {
		f.started = true
		unix.Close(f.pipe[0])
		go f.copy(f.pipe[1], f.wake[0])
	}
}

// StartUnless begins to copy what is not for a console, if there is one.
func (f *Feed) StartUnless(c *Console) {
	if f != nil {
		f.unless = c
		f.Start()
	}
}

// Stop ends the copying and does not wait for that: a read of a device that has nothing
// cannot be called back.
func (f *Feed) Stop() {
	if f == nil {
		return
	}
	unix.Close(f.wake[1])
	if !f.started {
		unix.Close(f.wake[0])
		unix.Close(f.pipe[0])
		unix.Close(f.pipe[1])
	}
}

// copy copies until the device has no more, the command does not read any more, or
// Stop.
func (f *Feed) copy(to, wake int) {
	defer unix.Close(to)
	defer unix.Close(wake)
	var buffer [feedAtMost]byte
	for {
		if !await(unix.PollFd{Fd: int32(to), Events: unix.POLLOUT}, to, wake) || !f.awaitForeground(to, wake) ||
			!await(unix.PollFd{Fd: int32(f.from), Events: unix.POLLIN}, to, wake) {
			return
		}
		if f.waits() {
			continue
		}
		n, err := unix.Read(f.from, buffer[:])
		if err == unix.EINTR || err == unix.EAGAIN {
			continue
		}
		if n <= 0 || WriteAll(to, buffer[:n]) != nil {
			return
		}
	}
}

func (f *Feed) waits() bool { return InBackground(f.from) || f.unless != nil && f.unless.Reads() }

// awaitForeground waits while a read would stop the process (SIGTTIN), or take what is
// typed for others. It returns false when the copying is to end.
func (f *Feed) awaitForeground(to, wake int) bool {
	for f.waits() {
		fds := [...]unix.PollFd{{Fd: int32(to)}, {Fd: int32(wake), Events: unix.POLLIN}}
		n, err := unix.Poll(fds[:], int(foregroundAgain.Milliseconds()))
		if n > 0 || err != nil && err != unix.EINTR {
			return false
		}
	}
	return true
}

// InBackground tells whether a descriptor is of the process's own terminal and another
// job has that: then a read from it, or a change of its modes, would stop the process.
// The other end of a terminal (TIOCGPTN) tells of its job too, and stops nobody.
func InBackground(fd int) bool {
	foreground, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	if err != nil || foreground == unix.Getpgrp() {
		return false
	}
	_, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
	return err != nil
}

// await waits for an event on a descriptor. It returns false when the pipe's reader has
// gone, or at the end of wake.
func await(what unix.PollFd, pipe, wake int) bool {
	for {
		fds := [...]unix.PollFd{what, {Fd: int32(pipe)}, {Fd: int32(wake), Events: unix.POLLIN}}
		_, err := unix.Poll(fds[:], -1)
		switch {
		case err == unix.EINTR:
		case err != nil || fds[1].Revents != 0 || fds[2].Revents != 0:
			return false
		case fds[0].Revents != 0:
			return true
		}
	}
}
