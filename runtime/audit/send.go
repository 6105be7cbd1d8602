package audit

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Sockets of the two logs.
const (
	journalSocket = "/run/systemd/journal/socket"
	syslogSocket  = "/dev/log"
)

// A Destination is where events go.
type Destination int

// The destinations. The first one whose socket exists is taken.
const (
	Journal Destination = iota
	Syslog
	Nowhere
)

// Where returns the destination whose socket exists. Whether a process listens there
// cannot be seen.
func Where() Destination {
	for i, socket := range []string{journalSocket, syslogSocket} {
		if _, err := os.Stat(socket); err == nil {
			return Destination(i)
		}
	}
	return Nowhere
}

// ErrLost means that a log exists and did not take the event in time.
var ErrLost = errors.New("the system's log is full, and an event of this call is lost")

// patience is how long a log that does not keep up is waited for. Anybody may write to
// its socket and so fill it; that must not delay a launch.
const patience = 100 * time.Millisecond

// Send logs the event, with root's credentials: by these a reader tells it from an
// event that a user made up. The thread must be root, or needs CAP_SETUID and
// CAP_SETGID effective. Send waits 100 ms at most, and returns ErrLost if the log does
// not take the event by then. If there is no log it returns nil.
func (e Event) Send() error {
	err := send(journalSocket, e.journal())
	if err == unix.ENOENT || err == unix.ECONNREFUSED {
		err = send(syslogSocket, e.syslog(unix.Getpid(), time.Now()))
	}
	switch err {
	case nil, unix.ENOENT, unix.ECONNREFUSED: // there is no log
		return nil
	case unix.EAGAIN:
		return ErrLost
	}
	return fmt.Errorf("write to the system's log: %w", err)
}

func send(socket string, datagram []byte) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	credentials := unix.UnixCredentials(&unix.Ucred{Pid: int32(unix.Getpid())})
	to := &unix.SockaddrUnix{Name: socket}
	err = unix.Sendmsg(fd, datagram, credentials, to, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	if err != unix.EAGAIN {
		return err
	}
	limit := unix.NsecToTimeval(int64(patience))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit); err != nil {
		return err
	}
	for begun := time.Now(); ; {
		err = unix.Sendmsg(fd, datagram, credentials, to, unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return err
		}
		if time.Since(begun) > patience {
			return unix.EAGAIN
		}
	}
}
