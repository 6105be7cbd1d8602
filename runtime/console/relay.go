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
	// drainTime bounds the wait for more output after everything in the container has
	// ended, in milliseconds: another process may hold the terminal open. drainAtMost
	// bounds the whole of it.
	drainTime   = 200
	drainAtMost = 5 * time.Second
)

// A Relay copies between the user's terminal and a Console until Stop.
type Relay struct {
	console  *Console
	in, out  int
	onDemand bool   // copy only while a process inside has the console open
	owns     bool   // the Relay closes in
	kill     func() // the user asked for the end
	modes    modes
	wake     [2]int // a byte says: look again; the end of the file says: stop
	done     chan struct{}

	over    bool   // the console has been hung up
	lost    error  // why output could not be shown; valid when done
	pending []byte // typed, and not yet written to the console
	escapes escapes
}

// Start puts the terminal in into raw mode. Then it copies from in to the console, and
// from the console to out. It calls kill when the user types ^] three times within a
// second.
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

// StartOnDemand copies between a terminal that OpenOwn has opened and the console, but
// only while a process inside has the console open. At other times the user's terminal
// is as if there were no console. The Relay owns the descriptor from here on. The
// command must have been started.
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

// openAgain is how often a Relay looks whether a process inside has opened the console.
// The kernel tells the master when the slave is closed, but not when it is opened.
const openAgain = 100 * time.Millisecond

// open tells whether a process inside has the console open.
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
		r.show() // what was written before the console was closed
	}
	_ = r.modes.giveBack()
	return false
}

// Leave restores the user's terminal before the process stops.
func (r *Relay) Leave() { _ = r.modes.leave() }

// Continue sets the user's terminal up again after the process was stopped: its shell
// may have changed the terminal. It does so at once, or as soon as the process is in
// the foreground.
func (r *Relay) Continue() {
	r.modes.goesOn()
	_ = r.modes.connected()
	_ = r.console.Resize(r.in)
	_, _ = unix.Write(r.wake[1], []byte{0})
}

// Resize gives the console the window size of the user's terminal.
func (r *Relay) Resize() { _ = r.console.Resize(r.in) }

// Stop waits until what the container has written is shown, and restores the user's
// terminal. All processes of the container must have ended.
func (r *Relay) Stop() error {
	unix.Close(r.wake[1])
	<-r.done
	err := r.modes.giveBack()
	r.close()
	return err
}

// Lost returns why not all output was shown. It is to be called after Stop. That the
// terminal has gone is not told: there is nobody to tell.
func (r *Relay) Lost() error {
	if r == nil || r.lost == nil || r.lost == unix.EIO {
		return nil
	}
	return fmt.Errorf("write standard output: %w", r.lost)
}

// copy is the loop. It reads from the user only when the container has taken what was
// typed before: so nothing is lost, and memory is bounded.
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

// woken takes the byte that woke the loop. It returns true at the end of the file.
func (r *Relay) woken() bool {
	var b [1]byte
	n, err := unix.Read(r.wake[0], b[:])
	return n == 0 && err == nil
}

// take reads what the user has typed, and passes it on.
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

// deliver writes to the console as much as it takes of what is pending.
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

// show copies output once. It returns whether there can be more.
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
		r.hangUp() // nobody will read what the command writes
		return false
	}
	return true
}

// drain shows what is left when the command has ended. Other processes of the container
// may still write, if the command has joined it: so the whole has a bound, too.
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

// WriteAll writes all of the data to a descriptor, even to one with O_NONBLOCK.
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

// seen takes what was typed at a moment. It returns whether the last escape characters
// came within the time.
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
