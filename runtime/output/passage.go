package output

import (
	"golang.org/x/sys/unix"

	"mayfly/runtime/console"
)

// A passage copies what comes by one of an output's pipes.
type passage struct {
	output   *Output
	from, to int
	buffer   []byte
	noSplice bool // it is known that the target takes none
}

// pieceSize is how much is passed on at a time, in bytes, and how much a pipe is to
// hold. Of pipes of a mebibyte sixty use up what a user may have (pipe-user-pages-soft
// in proc(5)), with those of their other programs.
const pieceSize = 256 << 10

// recordedSize is how much of it is recorded at a time: what becomes of that, six times
// as much at most, should fit into a processor's cache.
const recordedSize = 64 << 10

// copy reads to the end even when nothing may pass any more: the command is being told
// to end. When it has ended, what it wrote is in the pipe: somebody else who holds that
// open is not waited for.
func (p *passage) copy() {
	defer unix.Close(p.from)
	for rest := -1; rest != 0; { // -1: all that comes
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
			return // the command gets SIGPIPE
		}
		if n == 0 && (rest >= 0 || fds[0].Revents&unix.POLLIN == 0) {
			return // the end: else the command has read what it wrote
		}
		if rest > 0 {
			rest = max(0, rest-n)
		}
	}
}

// piece passes on what is there, and waits for nothing to come. The error is that of
// writing.
func (p *passage) piece() (n int, err error) {
	if p.output.cast == nil && !p.noSplice {
		return p.splice()
	}
	data := p.read(recordedSize)
	return len(data), console.WriteAll(p.to, p.output.Pass(data))
}

// splice passes on what is in the pipe without a look at it, which is nobody's copying.
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

// move moves some of what is in the pipe, and nothing when nothing is.
func (p *passage) move(most int) (int, error) {
	for !p.noSplice && unread(p.from) > 0 {
		moved, err := unix.Splice(p.from, nil, p.to, nil, most, 0)
		switch err {
		case unix.EINTR:
		case unix.EAGAIN:
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(p.to), Events: unix.POLLOUT}}, -1)
		case unix.EINVAL: // of a file that is appended to, for one
			p.noSplice = true
		default:
			return max(int(moved), 0), err
		}
	}
	data := p.read(most)
	return len(data), console.WriteAll(p.to, data)
}

// read reads what is in the pipe, and no more than so much. It does not wait: the pipe
// is not only ours, since the command can open it by procfs and read there.
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

// unread is how many bytes are in a pipe.
func unread(pipe int) int {
	n, err := unix.IoctlGetInt(pipe, unix.TIOCINQ) // FIONREAD
	if err != nil {
		return 0
	}
	return n
}
