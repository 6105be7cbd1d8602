package output

import (
	"golang.org/x/sys/unix"

	"mayfly/runtime/console"
)

// A passage copies from one of an Output's pipes to standard output or error.
type passage struct {
	output   *Output
	from, to int
	buffer   []byte
	noSplice bool // the target does not support splice(2)
}

// pieceSize is how many bytes are copied at a time, and the size of the pipe. With a
// mebibyte, sixty pipes would use up what a user may have (pipe-user-pages-soft in
// proc(5)).
const pieceSize = 256 << 10

// recordedSize is how many bytes are recorded at a time. The asciicast of them, at most
// six times as large, should fit into a processor's cache.
const recordedSize = 64 << 10

// copy reads to the end of the pipe, also when nothing may pass any more: the command
// is being told to end. After the command's end it copies what is in the pipe by then,
// and does not wait for other processes that hold the pipe open.
func (p *passage) copy() {
	defer unix.Close(p.from)
	for rest := -1; rest != 0; { // -1: the command has not ended
		fds := [...]unix.PollFd{{Fd: int32(p.from), Events: unix.POLLIN}, {Fd: int32(p.output.ending[0]), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds[:], -1); err == unix.EINTR {
			continue
		} else if err != nil {
			return
		}
		if rest < 0 && fds[1].Revents != 0 {
			rest = unread(p.from)
			continue
		}
		n, err := p.piece()
		if err != nil {
			p.output.lose(p.to, err)
			return // the pipe is closed, and the command gets SIGPIPE
		}
		if n == 0 && (rest >= 0 || fds[0].Revents&unix.POLLIN == 0) {
			return // the end; otherwise the command has read it back
		}
		if rest > 0 {
			rest = max(0, rest-n)
		}
	}
}

// piece copies what is in the pipe, and waits for nothing to come. The error is that of
// writing.
func (p *passage) piece() (n int, err error) {
	if p.output.cast == nil && !p.noSplice {
		return p.splice()
	}
	data := p.read(recordedSize)
	return len(data), console.WriteAll(p.to, p.output.Pass(data))
}

// splice moves what is in the pipe by splice(2), which copies nothing through this
// process.
func (p *passage) splice() (n int, err error) {
	n = unread(p.from)
	p.output.mu.Lock()
	may := p.output.allow(n)
	p.output.mu.Unlock()
	for left := may; left > 0; {
		moved, err := p.move(left)
		if err != nil || moved == 0 {
			return n, err
		}
		left -= moved
	}
	for dropped := n - may; dropped > 0; {
		read := len(p.read(dropped))
		if read == 0 {
			break
		}
		dropped -= read
	}
	return n, nil
}

// move moves at most so many bytes that are in the pipe. It waits for the reader only.
func (p *passage) move(most int) (int, error) {
	for !p.noSplice && unread(p.from) > 0 {
		moved, err := unix.Splice(p.from, nil, p.to, nil, most, 0)
		switch err {
		case unix.EINTR:
		case unix.EAGAIN:
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(p.to), Events: unix.POLLOUT}}, -1)
		case unix.EINVAL: // the target is opened with O_APPEND, for instance
			p.noSplice = true
		default:
			return max(int(moved), 0), err
		}
	}
	data := p.read(most)
	return len(data), console.WriteAll(p.to, data)
}

// read reads at most so many bytes that are in the pipe. It does not wait: the command
// can open the pipe in procfs and read from it, too.
func (p *passage) read(most int) []byte {
	if p.buffer == nil {
		p.buffer = make([]byte, pieceSize)
	}
	for {
		n, err := unix.Read(p.from, p.buffer[:min(most, pieceSize)])
		if err != unix.EINTR {
			return p.buffer[:max(n, 0)]
		}
	}
}

// unread returns how many bytes are in a pipe.
func unread(pipe int) int {
	n, err := unix.IoctlGetInt(pipe, unix.TIOCINQ) // FIONREAD
	if err != nil {
		return 0
	}
	return n
}
