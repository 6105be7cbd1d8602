package control

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A Listener is the supervisor's socket in the file system. Its holder must Close it.
// Package state removes the socket with the container's record. The Go runtime watches
// it: a goroutine that waits in Accept holds no thread.
type Listener struct{ watched }

// backlog is the number of connections that can wait for Accept.
const backlog = 64

// Listen makes a socket at path, in a directory that only root can enter. The thread
// must act on files as root.
func Listen(path string) (*Listener, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
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
	w, err := watch(fd)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	return &Listener{w}, nil
}

// Accept waits for a connection of one of these users. It closes connections of others.
// It returns an error when the Listener has been closed.
func (l *Listener) Accept(uids ...uint32) (*Conn, error) {
	for {
		fd := -1
		var err error
		closed := l.raw.Read(func(socket uintptr) bool {
			fd, _, err = unix.Accept4(int(socket), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			return err != unix.EAGAIN
		})
		if closed != nil {
			return nil, fmt.Errorf("accept: %w", closed)
		}
		if err == unix.EINTR || err == unix.ECONNABORTED {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("accept: %w", err)
		}
		if admits(fd, uids) {
			return newConn(fd)
		}
		unix.Close(fd)
	}
}

// admits tells whether the peer of a connection is one of these users.
func admits(fd int, uids []uint32) bool {
	peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	return err == nil && slices.Contains(uids, peer.Uid)
}

// Close closes the socket, and makes Accept return, now and later.
func (l *Listener) Close() error { return l.file.Close() }

// pause is the interval in which Dial tries again: a new supervisor makes its record
// first, then its socket.
const pause = 2 * time.Millisecond

// Dial connects to the supervisor whose socket is at path. It tries while alive returns
// true, and no longer than patience. The thread must act on files as root. The
// supervisor sees the thread's user as the caller.
func Dial(path string, patience time.Duration, alive func() bool) (*Conn, error) {
	for begun := time.Now(); ; time.Sleep(pause) {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return nil, fmt.Errorf("socket: %w", err)
		}
		if err = unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err == nil {
			return newConn(fd)
		}
		unix.Close(fd)
		// EAGAIN: the backlog is full, since the supervisor may be stopped.
		starting := err == unix.ENOENT || err == unix.ECONNREFUSED || err == unix.EAGAIN || err == unix.EINTR
		if !starting || time.Since(begun) > patience || !alive() {
			return nil, err
		}
	}
}
