package console

import "golang.org/x/sys/unix"

// OpenOwn opens the terminal of the process's session, for reads that do not wait:
// another process of the job may take what the user has typed between poll(2) and
// read(2). O_NONBLOCK belongs to the open file description, and other processes share
// the one of standard input. So OpenOwn makes a new one. The caller must close the
// descriptor.
func OpenOwn() (int, error) {
	return unix.Open("/dev/tty", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
}

// ownOf calls OpenOwn if a descriptor is of the terminal of the process's session. If
// it is of another terminal, ownOf returns the descriptor itself.
func ownOf(fd int) (own int, ok bool) {
	// TIOCGSID succeeds for the process's own terminal, and for any master.
	if _, err := unix.IoctlGetInt(fd, unix.TIOCGSID); err != nil {
		return fd, false
	}
	if _, err := unix.IoctlGetInt(fd, unix.TIOCGPTN); err == nil { // a master
		return fd, false
	}
	own, err := OpenOwn()
	if err != nil {
		return fd, false
	}
	return own, true
}

// close closes what the Relay reads from. Stop closes the end of wake that is written
// to.
func (r *Relay) close() {
	unix.Close(r.wake[0])
	if r.owns {
		unix.Close(r.in)
	}
}

// hangUp hangs the console up, and ends the copying.
func (r *Relay) hangUp() {
	r.over = true
	r.console.hangUp()
}
