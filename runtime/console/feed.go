package console

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// A Feed copies from a terminal, or another device, into a pipe. A command gets the
// pipe as its standard input, in place of the device.
//
// The pipe holds one page at most, and a Feed writes to it only when the command has
// read all of it. So what the user types ahead stays in the terminal for the next
// program, except one line: the kernel tells nobody whether the reader of a pipe waits.
type Feed struct {
	from    int
	pipe    [2]int // the command's end, and the Feed's
	wake    [2]int // Stop closes the second, which ends the copying
	started bool
	unless  *Console // nothing is copied while what the user types goes there; nil: never
}

// feedAtMost bounds what is read at a time, in bytes. The smallest page holds as much.
const feedAtMost = 4096

// foregroundAgain is how often a process in the background looks whether it is in the
// foreground of its terminal. The kernel tells only a process that it has stopped.
const foregroundAgain = 200 * time.Millisecond

// NewFeed makes a Feed that reads from a descriptor, which stays the caller's. The
// caller must call Stop.
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
	// A larger pipe would read further ahead.
	_, _ = unix.FcntlInt(uintptr(f.pipe[1]), unix.F_SETPIPE_SZ, feedAtMost)
	return f, nil
}

// Command returns the descriptor for the command. The Feed still owns it.
func (f *Feed) Command() int { return f.pipe[0] }

// Start begins to copy. The command must have its end by now: the copying ends when the
// last process that has it open closes it. Start of a nil Feed does nothing.
func (f *Feed) Start() {
	if f != nil {
		f.started = true
		unix.Close(f.pipe[0])
		go f.copy(f.pipe[1], f.wake[0])
	}
}

// StartUnless is Start, but copies nothing while what the user types goes to a console.
// A nil Console takes nothing.
func (f *Feed) StartUnless(c *Console) {
	if f != nil {
		f.unless = c
		f.Start()
	}
}

// Stop ends the copying and does not wait for its end: nothing interrupts a read of a
// device that has nothing to read. Stop of a nil Feed does nothing.
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

// copy copies until the device is at its end, the command does not read any more, or
// Stop is called.
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

// waits tells whether a read would stop the process (SIGTTIN), or take what the user
// types for the console.
func (f *Feed) waits() bool { return InBackground(f.from) || f.unless != nil && f.unless.Reads() }

// awaitForeground waits until it may read. It returns false when the copying has to
// end.
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

// InBackground tells whether a descriptor is of the terminal of the process's session,
// and another job is in the foreground of it. Then a read from it, or a change of its
// modes, would stop the process. A master also has a foreground job, but stops nobody:
// TIOCGPTN tells it from a slave.
func InBackground(fd int) bool {
	foreground, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	if err != nil || foreground == unix.Getpgrp() {
		return false
	}
	_, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
	return err != nil
}

// await waits for an event on a descriptor. It returns false when nobody can read from
// the pipe any more, or when wake is at its end.
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
