package console

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// modes are the modes of the user's terminal. They are raw while the terminal is
// connected with a container's: only the container's line discipline gives keys a
// meaning.
//
// A process changes and reads its terminal only while it is in the foreground. In the
// background the kernel would stop it, and the modes belong to the job in the
// foreground.
type modes struct {
	fd int
	// shared: other processes write to the terminal too, and need its processing of
	// output.
	shared bool

	mu     sync.Mutex
	raw    bool
	before *unix.Termios // to be restored; nil: nothing was changed
	away   bool          // the process is about to stop
}

// take makes the terminal raw, if it is not. After leave, and until goesOn, it is
// EAGAIN.
func (m *modes) take() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.raw {
		return nil
	}
	if m.away {
		return unix.EAGAIN
	}
	now, err := unix.IoctlGetTermios(m.fd, unix.TCGETS)
	if err == nil {
		raw := *now
		raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
		if !m.shared {
			raw.Oflag &^= unix.OPOST
		}
		raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
		raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
		raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
		err = unix.IoctlSetTermios(m.fd, unix.TCSETS, &raw)
	}
	if err != nil {
		return fmt.Errorf("raw mode: %w", err)
	}
	m.raw = true
	if m.before == nil {
		m.before = now
	}
	return nil
}

// connected makes the terminal raw if the process is in its foreground, and tells
// whether the terminal may be read. A terminal that has gone may: the reader notices by
// that.
func (m *modes) connected() bool {
	if m.isRaw() {
		return true
	}
	return !InBackground(m.fd) && m.take() == nil || m.gone()
}

// endsLines tells whether the user's terminal itself makes \r\n of \n.
func (m *modes) endsLines() bool { return m.shared || !m.isRaw() }

func (m *modes) isRaw() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.raw
}

// gone tells whether the terminal has been hung up.
func (m *modes) gone() bool {
	_, err := unix.IoctlGetTermios(m.fd, unix.TCGETS)
	return err == unix.EIO
}

// giveBack restores the modes, unless the process is in the background.
func (m *modes) giveBack() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.before
	if before == nil {
		return nil
	}
	m.raw, m.before = false, nil
	if InBackground(m.fd) {
		return nil
	}
	if err := unix.IoctlSetTermios(m.fd, unix.TCSETS, before); err != nil && err != unix.EIO {
		return fmt.Errorf("restore terminal: %w", err)
	}
	return nil
}

// leave restores the modes before the process stops. take fails until goesOn is called.
func (m *modes) leave() error {
	err := m.giveBack()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = true
	return err
}

// read reads what the user has typed, while the terminal is raw. A descriptor of
// OpenOwn does not wait, even if another process has read it meanwhile. So nobody holds
// the lock for long, and the process can stop and end at any time.
func (m *modes) read(buffer []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.raw && !m.gone() {
		return 0, unix.EAGAIN
	}
	return unix.Read(m.fd, buffer)
}

// goesOn says that the process was stopped and runs again. Others may have changed the
// modes meanwhile.
func (m *modes) goesOn() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.raw, m.away = false, false
}
