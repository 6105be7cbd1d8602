package kit

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// A Terminal is a pseudo-terminal with a program on it, as a user has it.
type Terminal struct {
	t      *testing.T
	Master *os.File
	slave  *os.File
	Cmd    *exec.Cmd
	Before unix.Termios // the settings before the program began
	mu     sync.Mutex
	seen   strings.Builder
}

// OnTerminal starts a program on a terminal of its own, which belongs to the user.
func OnTerminal(t *testing.T, name string, cmd *exec.Cmd) *Terminal {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close(); slave.Close() })
	if err := pty.Setsize(master, &pty.Winsize{Rows: 33, Cols: 111}); err != nil {
		t.Fatal(err)
	}
	_, uid, gid := Lookup(t, name)
	if err := os.Chown(slave.Name(), int(uid), int(gid)); err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	term := &Terminal{t: t, Master: master, slave: slave, Cmd: cmd}
	term.Before = term.Modes()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go term.read()
	return term
}

func (m *Terminal) read() {
	buffer := make([]byte, 4096)
	for {
		n, err := m.Master.Read(buffer)
		if err != nil {
			return
		}
		m.mu.Lock()
		m.seen.Write(buffer[:n])
		m.mu.Unlock()
	}
}

// Shows returns all that the terminal has shown.
func (m *Terminal) Shows() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen.String()
}

// Await waits until the terminal shows a text.
func (m *Terminal) Await(text string) {
	m.t.Helper()
	for end := time.Now().Add(Within(10 * time.Second)); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if strings.Contains(m.Shows(), text) {
			return
		}
	}
	m.t.Fatalf("the terminal never shows %q:\n%s", text, m.Shows())
}

// Type types.
func (m *Terminal) Type(text string) {
	m.t.Helper()
	if _, err := m.Master.WriteString(text); err != nil {
		m.t.Fatal(err)
	}
}

// Modes returns the terminal's settings.
func (m *Terminal) Modes() unix.Termios {
	m.t.Helper()
	modes, err := unix.IoctlGetTermios(int(m.slave.Fd()), unix.TCGETS)
	if err != nil {
		m.t.Fatal(err)
	}
	return *modes
}

// Name is the terminal's path.
func (m *Terminal) Name() string { return m.slave.Name() }

// Wait waits for the program's end and returns its exit code.
func (m *Terminal) Wait() int {
	m.t.Helper()
	limit := time.AfterFunc(Within(20*time.Second), func() { _ = m.Cmd.Process.Kill() })
	_ = m.Cmd.Wait()
	if !limit.Stop() {
		m.t.Errorf("did not end; the terminal shows:\n%s", m.Shows())
	}
	m.drain()
	return Code(m.Cmd.ProcessState)
}

// drain waits until all that was written to the terminal has been read. The reader may
// still be at it when the program has ended.
func (m *Terminal) drain() {
	for quiet := 0; quiet < 3; time.Sleep(5 * time.Millisecond) {
		written, err := unix.IoctlGetInt(int(m.slave.Fd()), unix.TIOCOUTQ)
		if err != nil { // it was taken away
			return
		}
		unread := 0
		raw, err := m.Master.SyscallConn()
		if err == nil {
			err = raw.Control(func(fd uintptr) { unread, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
		}
		if err != nil {
			return
		}
		if quiet++; written > 0 || unread > 0 {
			quiet = 0
		}
	}
}

// HangUp takes the terminal away, as a lost connection does.
func (m *Terminal) HangUp() {
	m.t.Helper()
	const vhangup = 0x5437 // TIOCVHANGUP: for whoever has the terminal open it is as if the other end were closed
	if err := unix.IoctlSetInt(int(m.slave.Fd()), vhangup, 0); err != nil {
		m.t.Fatal(err)
	}
}
