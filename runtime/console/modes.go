package console

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// modes are those of the user's terminal, which are raw while a container's is
// connected with it: what is typed means something to the container's line discipline
// only.
//
// Only who is in the foreground changes or reads a terminal: another job would be
// stopped, and the modes belong to the job in the foreground.
type modes struct {
	fd int
	// shared: others write to the terminal, who want its ends of lines.
	shared bool

	mu     sync.Mutex
	raw    bool
	before *unix.Termios // what they were; nil: what they are
	away   bool          // the process is about to stop
}

// take makes the terminal raw, unless it has been given back.
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
// whether it may be read. One that has gone may: so that is noticed.
func (m *modes) connected() bool {
	if m.isRaw() {
		return true
	}
	return !InBackground(m.fd) && m.take() == nil || m.gone()
}

// endsLines tells whether the terminal makes ends of lines of its own.
func (m *modes) endsLines() bool { return m.shared || !m.isRaw() }

func (m *modes) isRaw() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.raw
}

func (m *modes) gone() bool {
	_, err := unix.IoctlGetTermios(m.fd, unix.TCGETS)
	return err == unix.EIO
}

// giveBack makes the terminal what it was.
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

// leave gives the terminal back until the process goes on.
func (m *modes) leave() error {
	err := m.giveBack()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = true
	return err
}

// read reads what was typed while the terminal is raw. With a descriptor of OpenOwn it
// waits for nothing, though others read the terminal too: who has the lock never keeps
// the process from stopping or ending.
func (m *modes) read(buffer []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.raw && !m.gone() {
		return 0, unix.EAGAIN
	}
	return unix.Read(m.fd, buffer)
}

// goesOn tells that the process has been stopped, and others may have changed the
// terminal.
func (m *modes) goesOn() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.raw, m.away = false, false
}
