package audit

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The sockets of the two logs.
const (
	journalSocket = "/run/systemd/journal/socket"
	syslogSocket  = "/dev/log"
)

// A Place is where events go.
type Destination int

// The places, of which the first that is there is taken.
const (
	Journal Destination = iota
	Syslog
	Nowhere
)

// Where tells where events go, as far as that can be seen: somebody may listen or not.
func Where() Destination {
	for i, socket := range []string{journalSocket, syslogSocket} {
		if _, err := os.Stat(socket); err == nil {
			return Destination(i)
		}
	}
	return Nowhere
}

// ErrLost means that a log is there and did not take the event in time.
var ErrLost = errors.New("the system's log is full, and an event of this call is lost")

// patience is how long a log is waited for that does not keep up. Anybody may write to
// its socket, and so fill it: a launch is not to hang for that.
const patience = 100 * time.Millisecond

// Send logs the event. It waits no longer than a moment for a log that is slow, since a
// build is worth more, and says when that was not enough. The thread needs CAP_SETUID
// and CAP_SETGID where it is not root's: the event bears root's credentials, by which a
// reader tells it from one that a user made up.
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
