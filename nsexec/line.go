package nsexec

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A line is a pair of connected sockets between the process and a clone of one of its
// threads. On it the clone writes a byte when it is ready, and then reads until the
// process closes its end, or ends.
type line struct {
	own   int   // the process's end; -1: closed
	child int   // the clone's end, as long as the process has it too; -1: closed
	pidfd int32 // of the clone; -1: none
}

// newLine makes a line. A read of the clone's ends after the time atMost; 0: it waits
// as long as it takes.
func newLine(atMost time.Duration) (*line, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	l := &line{own: pair[0], child: pair[1], pidfd: -1}
	if atMost > 0 {
		limit := unix.NsecToTimeval(int64(atMost))
		if err := unix.SetsockoptTimeval(l.child, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
			l.close()
			return nil, fmt.Errorf("time limit of a process: %w", err)
		}
	}
	return l, nil
}

// args are the arguments of the clone: the kernel stores its pidfd in the line.
func (l *line) args() *cloneArgs {
	return &cloneArgs{flags: unix.CLONE_PIDFD, pidfd: uint64(uintptr(unsafe.Pointer(&l.pidfd)))}
}

// ready waits until the clone has said that it is ready, or has ended. It asks the
// pidfd for the end: as long as the process has the clone's end of the line too, a
// clone that ends does not break it.
func (l *line) ready() (bool, error) {
	fds := []unix.PollFd{{Fd: int32(l.own), Events: unix.POLLIN}, {Fd: l.pidfd, Events: unix.POLLIN}}
	_, err := unix.Poll(fds, -1)
	for err == unix.EINTR {
		_, err = unix.Poll(fds, -1)
	}
	if err != nil || fds[0].Revents == 0 {
		return false, err
	}
	var ready [1]byte
	n, err := unix.Read(l.own, ready[:])
	return n == 1, err
}

// hangUp has the clone's read end, though copies of the process's end may be open in
// other processes, which a close would not reach.
func (l *line) hangUp() { _ = unix.Shutdown(l.own, unix.SHUT_RDWR) }

// forget closes the clone's end in the process. The clone must have a descriptor table
// of its own by then: it has when it is ready.
func (l *line) forget() { closeOnce(&l.child) }

// breakOff hangs up and closes both ends. The pidfd stays, to wait for the clone.
func (l *line) breakOff() {
	l.hangUp()
	l.forget()
	closeOnce(&l.own)
}

// close closes both ends and the pidfd.
func (l *line) close() {
	l.forget()
	closeOnce(&l.own)
	pidfd := int(l.pidfd)
	closeOnce(&pidfd)
	l.pidfd = -1
}

func closeOnce(fd *int) {
	if *fd >= 0 {
		unix.Close(*fd)
	}
	*fd = -1
}
