package launch

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"mayfly/integration/kit"
)

// A terminal is a pseudo-terminal with a program on it, as a user has it.
type terminal struct {
	t      *testing.T
	master *os.File
	slave  *os.File
	cmd    *exec.Cmd
	mu     sync.Mutex
	seen   strings.Builder
}

func onTerminal(t *testing.T, args ...string) *terminal {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close(); slave.Close() })
	if err := pty.Setsize(master, &pty.Winsize{Rows: 33, Cols: 111}); err != nil {
		t.Fatal(err)
	}
	_, uid, gid := kit.Lookup(t, kit.User)
	if err := os.Chown(slave.Name(), int(uid), int(gid)); err != nil {
		t.Fatal(err)
	}
	cmd := kit.As(t, kit.User, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	term := &terminal{t: t, master: master, slave: slave, cmd: cmd}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go term.read()
	return term
}

func (m *terminal) read() {
	buffer := make([]byte, 4096)
	for {
		n, err := m.master.Read(buffer)
		if err != nil {
			return
		}
		m.mu.Lock()
		m.seen.Write(buffer[:n])
		m.mu.Unlock()
	}
}

func (m *terminal) shows() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen.String()
}

func (m *terminal) await(text string) {
	m.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if strings.Contains(m.shows(), text) {
			return
		}
	}
	m.t.Fatalf("the terminal never shows %q:\n%s", text, m.shows())
}

func (m *terminal) type_(text string) {
	m.t.Helper()
	if _, err := m.master.WriteString(text); err != nil {
		m.t.Fatal(err)
	}
}

func (m *terminal) modes() unix.Termios {
	m.t.Helper()
	modes, err := unix.IoctlGetTermios(int(m.slave.Fd()), unix.TCGETS)
	if err != nil {
		m.t.Fatal(err)
	}
	return *modes
}

func (m *terminal) wait() int {
	m.t.Helper()
	limit := time.AfterFunc(20*time.Second, func() { _ = m.cmd.Process.Kill() })
	_ = m.cmd.Wait()
	if !limit.Stop() {
		m.t.Errorf("did not end; the terminal shows:\n%s", m.shows())
	}
	return kit.Code(m.cmd.ProcessState)
}

func TestShellOnATerminal(t *testing.T) {
	m := onTerminal(t, kit.Runtime, "shell", kit.Image)
	before := m.modes()
	m.await("Press ^] three times within 1s to kill container.")
	m.await("$ ")
	m.type_("tty; stty size; echo $0\n")
	m.await("/dev/pts/0")
	m.await("33 111")
	m.await("-bash")
	if err := pty.Setsize(m.master, &pty.Winsize{Rows: 44, Cols: 122}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	m.type_("stty size\n")
	m.await("44 122")
	m.type_("sleep 60\n")
	time.Sleep(100 * time.Millisecond)
	m.type_("\x03")
	m.type_("echo status $?\n")
	m.await("status 130")
	m.type_("sleep 61\n")
	time.Sleep(100 * time.Millisecond)
	m.type_("\x1a")
	m.await("Stopped")
	m.type_("exit 5\nexit 5\n")
	if code := m.wait(); code != 5 {
		t.Errorf("exit %d, want 5", code)
	}
	m.await("failed with error code 5.")
	if after := m.modes(); after != before {
		t.Errorf("terminal modes before %+v, after %+v", before, after)
	}
	kit.NothingLeft(t)
}

func TestEscapeKillsTheContainer(t *testing.T) {
	m := onTerminal(t, kit.NspawnRun, "-n", kit.Image, "sh", "-c", "trap '' INT TERM HUP; echo ready; while :; do sleep 1; done")
	before := m.modes()
	m.await("ready")
	m.type_("\x1d\x1d\x1d")
	if code := m.wait(); code != 137 {
		t.Errorf("exit %d, want 137", code)
	}
	m.await("terminated by signal KILL.")
	if after := m.modes(); after.Lflag != before.Lflag {
		t.Error("the terminal stays in raw mode")
	}
	kit.NothingLeft(t)
}

func TestTerminalIsRestoredAfterASignal(t *testing.T) {
	m := onTerminal(t, kit.Runtime, "run", kit.Image, "sh", "-c", "echo ready; sleep 60")
	before := m.modes()
	m.await("ready")
	_ = m.cmd.Process.Signal(syscall.SIGTERM)
	if code := m.wait(); code != 143 {
		t.Errorf("exit %d, want 143", code)
	}
	if after := m.modes(); after != before {
		t.Errorf("terminal modes before %+v, after %+v", before, after)
	}
}

func TestShortCommandsOutputIsShownWhole(t *testing.T) {
	for range 5 {
		m := onTerminal(t, kit.Runtime, "run", "--quiet", kit.Image, "seq", "20000")
		m.wait()
		m.await("19999\r\n20000\r\n")
	}
}

func TestNothingInsidePushesInputIntoTheTerminal(t *testing.T) {
	// TIOCSTI and TIOCLINUX by their numbers, on the container's terminal and, with
	// --no-tty, on the user's own.
	script := `printf '#include <sys/ioctl.h>\n#include <stdio.h>\nint main(void) { char c = 33; int r = ioctl(0, 0x5412, &c); ` +
		`char l[2] = {2}; printf("results %%d %%d\\n", r, ioctl(0, 0x541c, l)); }' > /tmp/a.c && gcc -o /tmp/a /tmp/a.c && /tmp/a`
	for _, flag := range []string{"--tty", "--no-tty"} {
		m := onTerminal(t, kit.Runtime, "run", "--quiet", flag, kit.Image, "sh", "-c", script)
		m.await("results -1 -1")
		if code := m.wait(); code != 0 {
			t.Errorf("%s: exit %d: %s", flag, code, m.shows())
		}
	}
}
