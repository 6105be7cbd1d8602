package console

import (
	"bytes"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	escape       = 0x1d // ^]
	escapeTimes  = 3
	escapeWithin = time.Second
	// drainTime bounds how long output is waited for after everything in the
	// container has ended, in milliseconds: somebody may hold the terminal open.
	drainTime   = 200
	drainAtMost = 5 * time.Second
)

// A Relay copies between the user's terminal and a Console until Stop.
type Relay struct {
	console *Console
	in, out int
	// onDemand: only while somebody inside has the console open.
	onDemand bool
	owns     bool   // in is the Relay's to close
	kill     func() // the user asked for the end
	modes    modes
	wake     [2]int // a byte: look again; its end: stop
	done     chan struct{}

	over    bool   // the console has been hung up
	lost    error  // what was to be shown could not be written; valid when done
	pending []byte // typed and not yet taken by the container
	escapes escapes
}

// Start puts the terminal in into raw mode and copies: in to the console, the
// console to out. kill is called when the user types ^] three times within a second.
func (c *Console) Start(in, out int, kill func()) (*Relay, error) {
	r, err := c.newRelay(in, out, kill)
	if err != nil {
		return nil, err
	}
	r.in, r.owns = ownOf(in)
	r.modes.fd = r.in
	if err := r.modes.take(); err != nil { // in the background this stops the process
		unix.Close(r.wake[1])
		r.close()
		return nil, err
	}
	_ = c.Resize(r.in) // a terminal without a size is one all the same
	go r.copy()
	return r, nil
}

func (c *Console) newRelay(in, out int, kill func()) (*Relay, error) {
	r := &Relay{console: c, in: in, out: out, kill: kill, modes: modes{fd: in}, done: make(chan struct{})}
	if err := unix.Pipe2(r.wake[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	return r, nil
}

// StartOnDemand copies between the terminal of OpenOwn, which the Relay closes,
// and the console while somebody has that open. At other times, and for its modes, the
// user's terminal is as if the console were not there. The command must have been
// started.
func (c *Console) StartOnDemand(fd int, kill func()) (*Relay, error) {
	r, err := c.newRelay(fd, fd, kill)
	if err != nil {
		return nil, err
	}
	r.onDemand, r.owns, r.modes.shared = true, true, true
	c.closeSlave()
	_ = c.Resize(fd)
	go r.copy()
	return r, nil
}

// openAgain is how often it is looked whether somebody has opened a console: the kernel
// tells the other end that it has been closed, and not that it is open.
const openAgain = 100 * time.Millisecond

// open tells whether somebody inside has the console open.
func (r *Relay) open() bool {
	if !r.onDemand {
		return true
	}
	fds := []unix.PollFd{{Fd: int32(r.console.master), Events: unix.POLLIN}}
	_, err := unix.Poll(fds, 0)
	if err == nil && fds[0].Revents&unix.POLLHUP == 0 {
		return true
	}
	if fds[0].Revents&unix.POLLIN != 0 {
		r.show() // what was written before it was closed
	}
	_ = r.modes.giveBack()
	return false
}

// Leave gives the user's terminal back, since the process is about to stop.
func (r *Relay) Leave() { _ = r.modes.leave() }

// Continue sets up the user's terminal again after somebody else, a shell while we were
// stopped, may have changed it: at once, or as soon as we are in the foreground.
func (r *Relay) Continue() {
	r.modes.goesOn()
	_ = r.modes.connected()
	_ = r.console.Resize(r.in)
	_, _ = unix.Write(r.wake[1], []byte{0})
}

// Resize passes the size of the user's terminal on.
func (r *Relay) Resize() { _ = r.console.Resize(r.in) }

// Stop waits until what the container wrote has been shown, and restores the
// user's terminal. Everything in the container must have ended.
func (r *Relay) Stop() error {
	unix.Close(r.wake[1])
	<-r.done
	err := r.modes.giveBack()
	r.close()
	return err
}

// Lost returns why not all was shown, after Stop. A terminal that has gone is no
// reason: there is nobody to tell.
func (r *Relay) Lost() error {
	if r == nil || r.lost == nil || r.lost == unix.EIO {
		return nil
	}
	return fmt.Errorf("write standard output: %w", r.lost)
}

// copy is the loop. Reading from the user stops while the container does not
// read, so that nothing typed is lost and memory is bounded.
func (r *Relay) copy() {
	defer close(r.done)
	defer r.console.reads.Store(false)
	const user, container, waker = 0, 1, 2
	for !r.over {
		open := r.open()
		atMost, connected := -1, open && r.modes.connected()
		r.console.reads.Store(connected)
		fds := []unix.PollFd{
			{Fd: int32(r.in), Events: unix.POLLIN},
			{Fd: int32(r.console.master), Events: unix.POLLIN},
			{Fd: int32(r.wake[0]), Events: unix.POLLIN},
		}
		if len(r.pending) > 0 {
			fds[user].Fd = -1
			fds[container].Events |= unix.POLLOUT
		}
		if !connected {
			fds[user].Fd = -1
		}
		if !open {
			fds[container].Fd = -1
			atMost = int(openAgain.Milliseconds())
		} else if !connected {
			atMost = int(foregroundAgain.Milliseconds())
		}
		if _, err := unix.Poll(fds, atMost); err != nil && err != unix.EINTR {
			return
		}
		if fds[waker].Revents != 0 && r.woken() {
			r.drain()
			return
		}
		if fds[container].Revents&unix.POLLOUT != 0 {
			r.deliver()
		}
		if fds[container].Revents&(unix.POLLIN|unix.POLLHUP|unix.POLLERR) != 0 && !r.show() && !r.onDemand {
			return
		}
		if fds[user].Revents != 0 {
			r.take()
		}
	}
}

// woken takes a byte that woke the loop, and tells whether it is the end.
func (r *Relay) woken() bool {
	var b [1]byte
	n, err := unix.Read(r.wake[0], b[:])
	return n == 0 && err == nil
}

// take reads what the user typed.
func (r *Relay) take() {
	buffer := make([]byte, 4096)
	n, err := r.modes.read(buffer)
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	if n <= 0 {
		r.hangUp()
		return
	}
	r.pending = buffer[:n]
	if r.escapes.seen(r.pending, time.Now()) {
		r.kill()
	}
	if r.console.Suspend != nil && r.console.suspends(r.pending) {
		r.console.Suspend()
	}
	r.deliver()
}

func (r *Relay) deliver() {
	n, err := unix.Write(r.console.master, r.pending)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
	case err != nil:
		r.pending = nil
	default:
		r.pending = r.pending[n:]
	}
}

// show copies output once. It reports whether there can be more.
func (r *Relay) show() bool {
	var buffer [32 * 1024]byte
	n, err := unix.Read(r.console.master, buffer[:])
	if err == unix.EAGAIN || err == unix.EINTR {
		return true
	}
	if n <= 0 {
		return false
	}
	data := buffer[:n]
	if r.console.Pass != nil {
		data = r.console.Pass(data)
	}
	if r.modes.endsLines() {
		data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	}
	if err := WriteAll(r.out, data); err != nil {
		r.lost = err
		r.hangUp() // nobody reads what the command writes
		return false
	}
	return true
}

// drain shows what is left once nobody writes any more. Of a command that has joined a container others may write
// still: that is bounded, too.
func (r *Relay) drain() {
	r.console.closeSlave()
	for begun := time.Now(); time.Since(begun) < drainAtMost; {
		fds := []unix.PollFd{{Fd: int32(r.console.master), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, drainTime)
		if err == unix.EINTR {
			continue
		}
		if n == 0 || err != nil || fds[0].Revents&unix.POLLIN == 0 || !r.show() {
			return
		}
	}
}

// WriteAll writes all to a descriptor, also to one that does not wait.
func WriteAll(fd int, data []byte) error {
	for len(data) > 0 {
		n, err := unix.Write(fd, data)
		if err == unix.EAGAIN {
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1)
			continue
		}
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// escapes remembers when the last escape characters were typed.
type escapes struct{ times [escapeTimes]time.Time }

// seen takes in what was typed at a moment and reports whether the last of the
// escapes came within the time.
func (e *escapes) seen(typed []byte, now time.Time) bool {
	for _, c := range typed {
		if c != escape {
			continue
		}
		copy(e.times[:], e.times[1:])
		e.times[escapeTimes-1] = now
		if first := e.times[0]; !first.IsZero() && now.Sub(first) <= escapeWithin {
			return true
		}
	}
	return false
}
