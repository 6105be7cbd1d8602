package control

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// A Listener is the supervisor's socket in the file system. Its holder must Close it.
// Package state removes the socket with the container's record.
type Listener struct{ fd int }

// backlog is the number of connections that can wait for Accept.
const backlog = 64

// Listen makes a socket at path, in a directory that only root can enter. The thread
// must act on files as root.
func Listen(path string) (*Listener, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	return &Listener{fd}, nil
}

// Accept waits for a connection of one of these users. It closes connections of others.
// It returns an error after Hangup.
func (l *Listener) Accept(uids ...uint32) (*Conn, error) {
	for {
		fd, _, err := unix.Accept4(l.fd, unix.SOCK_CLOEXEC)
		if err == unix.EINTR || err == unix.ECONNABORTED {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("accept: %w", err)
		}
		peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err == nil {
			for _, uid := range uids {
				if peer.Uid == uid {
					return &Conn{fd}, nil
				}
			}
		}
		unix.Close(fd)
	}
}

// Hangup makes Accept return, now and later.
func (l *Listener) Hangup() { _ = unix.Shutdown(l.fd, unix.SHUT_RDWR) }

// Close closes the socket, after the last Accept has returned.
func (l *Listener) Close() error { return unix.Close(l.fd) }

// pause is the interval in which Dial tries again: a new supervisor makes its record
// first, then its socket.
const pause = 2 * time.Millisecond

// Dial connects to the supervisor whose socket is at path. It tries while alive returns
// true, and no longer than patience. The thread must act on files as root. The
// supervisor sees the thread's user as the caller.
func Dial(path string, patience time.Duration, alive func() bool) (*Conn, error) {
	for begun := time.Now(); ; time.Sleep(pause) {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("socket: %w", err)
		}
		// connect(2) waits while the backlog is full. The supervisor may be stopped, so
		// limit the wait.
		c := &Conn{fd}
		if err = c.Within(patience); err == nil {
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		}
		if err == nil {
			return c, c.Within(0)
		}
		unix.Close(fd)
		starting := err == unix.ENOENT || err == unix.ECONNREFUSED || err == unix.EINTR
		if !starting || time.Since(begun) > patience || !alive() {
			return nil, err
		}
	}
}
