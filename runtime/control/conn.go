// Package control is the protocol between callers and the supervisor of a running
// container. The supervisor listens on a socket beside the container's record. It
// answers the owner and root. `exec` sends arguments and descriptors; the container's
// launch thread, which is already confined, forks the command. So the caller needs no
// privilege once it is connected.
package control

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/internal/exact"
	"mayfly/runtime/internal/file"
)

const (
	// maxMessage is the size limit of a message, in bytes. execve(2) takes no more
	// arguments and environment than that.
	maxMessage = 8 << 20
	// maxFiles is the limit of descriptors in a message.
	maxFiles = 3
)

// A Conn is one end of a connection. A message is its length in four bytes, then JSON
// that keeps all bytes of strings (see package exact). Descriptors come with the
// length. The holder of a Conn must Close it. The Go runtime watches the socket: a
// goroutine that waits in Send or Receive holds no thread.
type Conn struct {
	watched
	limit atomic.Int64 // of Within, in nanoseconds
}

// A watched is a socket that the Go runtime watches.
type watched struct {
	file *os.File
	raw  syscall.RawConn
}

// watch takes a socket that does not wait (O_NONBLOCK), which it owns from then on.
func watch(socket int) (w watched, err error) {
	w.file = os.NewFile(uintptr(socket), "control")
	if w.raw, err = w.file.SyscallConn(); err != nil {
		return w, errors.Join(err, w.file.Close())
	}
	return w, nil
}

// newConn makes a Conn of a socket (see watch).
func newConn(socket int) (*Conn, error) {
	w, err := watch(socket)
	if err != nil {
		return nil, err
	}
	return &Conn{watched: w}, nil
}

// Close ends the connection.
func (c *Conn) Close() error { return c.file.Close() }

// Hangup makes all calls on both ends return, now and later. The descriptor stays open.
func (c *Conn) Hangup() {
	_ = c.raw.Control(func(socket uintptr) { _ = unix.Shutdown(int(socket), unix.SHUT_RDWR) })
}

// Within limits how long each later Send and Receive waits; 0: no limit. A call that
// has waited for so long returns os.ErrDeadlineExceeded.
func (c *Conn) Within(d time.Duration) { c.limit.Store(int64(d)) }

// deadline is when a call that begins now is to return; zero: never.
func (c *Conn) deadline() (t time.Time) {
	if d := c.limit.Load(); d > 0 {
		t = time.Now().Add(time.Duration(d))
	}
	return t
}

// Send sends a message, and duplicates of descriptors with it.
func (c *Conn) Send(message any, files ...int) error {
	data, err := exact.Marshal(message)
	if err != nil {
		return err
	}
	if len(data) > maxMessage {
		return fmt.Errorf("%w: %d bytes for a container's supervisor", unix.E2BIG, len(data))
	}
	data = append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...)
	var rights []byte
	if len(files) > 0 {
		rights = unix.UnixRights(files...)
	}
	if err := c.file.SetWriteDeadline(c.deadline()); err != nil {
		return err
	}
	for len(data) > 0 {
		n := 0
		waited := c.raw.Write(func(socket uintptr) bool {
			n, err = unix.SendmsgN(int(socket), data, rights, nil, unix.MSG_NOSIGNAL)
			return err != unix.EAGAIN
		})
		if waited != nil {
			return waited
		}
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		data, rights = data[n:], nil
	}
	return nil
}

// Receive receives a message and its descriptors, which the caller then owns. At the
// end of the connection it returns io.EOF.
func (c *Conn) Receive(message any) (files []int, err error) {
	defer func() {
		if err != nil {
			file.CloseAll(files)
			files = nil
		}
	}()
	if err := c.file.SetReadDeadline(c.deadline()); err != nil {
		return nil, err
	}
	var length [4]byte
	if files, err = c.read(length[:], files); err != nil {
		return files, err
	}
	size := binary.BigEndian.Uint32(length[:])
	if size > maxMessage {
		return files, fmt.Errorf("a message of %d bytes: %w", size, unix.EMSGSIZE)
	}
	data := make([]byte, size)
	if files, err = c.read(data, files); err != nil {
		return files, err
	}
	return files, exact.Unmarshal(data, message)
}

// read fills the buffer, and appends received descriptors to files.
func (c *Conn) read(buffer []byte, files []int) ([]int, error) {
	rights := make([]byte, unix.CmsgSpace(4*maxFiles))
	for done := 0; done < len(buffer); {
		var n, oob, flags int
		var err error
		waited := c.raw.Read(func(socket uintptr) bool {
			n, oob, flags, _, err = unix.Recvmsg(int(socket), buffer[done:], rights, unix.MSG_CMSG_CLOEXEC)
			return err != unix.EAGAIN
		})
		if waited != nil {
			return files, waited
		}
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return files, err
		}
		got, err := parseRights(rights[:oob])
		files = append(files, got...)
		switch {
		case err != nil:
			return files, err
		case flags&unix.MSG_CTRUNC != 0 || len(files) > maxFiles:
			return files, errors.New("too many descriptors in a message")
		case n == 0 && done == 0:
			return files, io.EOF
		case n == 0:
			return files, io.ErrUnexpectedEOF
		}
		done += n
	}
	return files, nil
}

func parseRights(data []byte) ([]int, error) {
	messages, err := unix.ParseSocketControlMessage(data)
	if err != nil {
		return nil, err
	}
	var files []int
	for i := range messages {
		got, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return files, err
		}
		files = append(files, got...)
	}
	return files, nil
}
