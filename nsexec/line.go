package nsexec

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A line connects the process with a clone of a thread that shares its descriptors: the clone says by a byte that it is
// ready, and then reads until we let it go.
type line struct {
	own, child int   // our end, and the clone's, which is ours too
	pidfd      int32 // of the clone
}

// newLine makes a line on which the clone waits no longer than a time (0: as long as it takes).
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

// args are those of the clone.
func (l *line) args() *cloneArgs {
	return &cloneArgs{flags: unix.CLONE_PIDFD, pidfd: uint64(uintptr(unsafe.Pointer(&l.pidfd)))}
}

// ready waits until the clone is ready, or has ended: as long as it has no descriptors of its own, the line does not break
// with its end.
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

// hangUp lets the clone go. Before the line is closed: a descriptor of it that somebody has taken along would keep it open.
func (l *line) hangUp() { _ = unix.Shutdown(l.own, unix.SHUT_RDWR) }

// forget closes the clone's end, which is of no use when the clone is ready, and has
// descriptors of its own.
func (l *line) forget() { closeOnce(&l.child) }

// breakOff closes the line, and leaves the clone to be waited for.
func (l *line) breakOff() {
	l.hangUp()
	l.forget()
	closeOnce(&l.own)
}

// close closes everything.
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
