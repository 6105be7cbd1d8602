package console

import "golang.org/x/sys/unix"

// OpenOwn opens the process's terminal, for reads that do not wait: another process of
// the job may take what was typed between poll(2) and read(2). The flag is of the open
// file description, which others share, so it takes one that nobody else has.
func OpenOwn() (int, error) {
	return unix.Open("/dev/tty", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
}

// ownOf opens the terminal of a descriptor by OpenOwn, where that is the process's.
// Where it is another session's, or nobody's, the descriptor has to do.
func ownOf(fd int) (own int, ok bool) {
	if _, err := unix.IoctlGetInt(fd, unix.TIOCGSID); err != nil { // for the process's own alone,
		return fd, false
	}
	if _, err := unix.IoctlGetInt(fd, unix.TIOCGPTN); err == nil { // and for its other end
		return fd, false
	}
	own, err := OpenOwn()
	if err != nil {
		return fd, false
	}
	return own, true
}

// close closes what the Relay reads from, but for the end of wake that stops it.
func (r *Relay) close() {
	unix.Close(r.wake[0])
	if r.owns {
		unix.Close(r.in)
	}
}

// hangUp ends the console, and the copying with it: from here on it is one of nothing,
// which can always be read.
func (r *Relay) hangUp() {
	r.over = true
	r.console.hangUp()
}
