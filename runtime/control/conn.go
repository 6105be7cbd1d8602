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
// length. The holder of a Conn must Close it.
type Conn struct{ fd int }

// Close ends the connection.
func (c *Conn) Close() error { return unix.Close(c.fd) }

// Hangup makes all calls on both ends return, now and later. The descriptor stays open.
func (c *Conn) Hangup() { _ = unix.Shutdown(c.fd, unix.SHUT_RDWR) }

// Within limits how long each later Send and Receive waits; 0: no limit.
func (c *Conn) Within(d time.Duration) error {
	limit := unix.NsecToTimeval(int64(d))
	for _, option := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err := unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, option, &limit); err != nil {
			return fmt.Errorf("time limit of a connection: %w", err)
		}
	}
	return nil
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
	for len(data) > 0 {
		n, err := unix.SendmsgN(c.fd, data, rights, nil, unix.MSG_NOSIGNAL)
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
		n, oob, flags, _, err := unix.Recvmsg(c.fd, buffer[done:], rights, unix.MSG_CMSG_CLOEXEC)
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
