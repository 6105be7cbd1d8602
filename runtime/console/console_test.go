package console

import (
	"os"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

func TestAConsoleHasTheSizeOfTheUsersTerminal(t *testing.T) {
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer slave.Close()
	c := terminal(t)
	for _, want := range []pty.Winsize{{Rows: 24, Cols: 80}, {Rows: 51, Cols: 203, X: 1624, Y: 816}, {}} {
		if err := pty.Setsize(master, &want); err != nil {
			t.Fatal(err)
		}
		if err := c.Resize(int(slave.Fd())); err != nil {
			t.Fatal(err)
		}
		got, err := unix.IoctlGetWinsize(c.Slave(), unix.TIOCGWINSZ)
		if err != nil || *got != (unix.Winsize{Row: want.Rows, Col: want.Cols, Xpixel: want.X, Ypixel: want.Y}) {
			t.Errorf("the console has %+v, %v, want %+v", got, err, want)
		}
	}
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if err := c.Resize(int(null.Fd())); err == nil {
		t.Error("/dev/null has a size")
	}
}

// The key is the container's to choose, and to switch off.
func TestWhichKeyStopsAJob(t *testing.T) {
	c := terminal(t)
	set := func(change func(*unix.Termios)) {
		t.Helper()
		m, err := unix.IoctlGetTermios(c.Slave(), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		change(m)
		if err := unix.IoctlSetTermios(c.Slave(), unix.TCSETS, m); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(what, typed string, want bool) {
		t.Helper()
		if got := c.suspends([]byte(typed)); got != want {
			t.Errorf("%s: %q: %v", what, typed, got)
		}
	}
	set(func(m *unix.Termios) { m.Lflag |= unix.ISIG; m.Cc[unix.VSUSP] = 'Z' - '@' })
	expect("as usual", "ls\x1a", true)
	expect("as usual", "ls\x19\n", false)
	set(func(m *unix.Termios) { m.Cc[unix.VSUSP] = 'Y' - '@' })
	expect("another key", "\x19", true)
	expect("another key", "\x1a", false)
	set(func(m *unix.Termios) { m.Cc[unix.VSUSP] = 0 })
	expect("no key", "\x00\x19\x1a", false)
	set(func(m *unix.Termios) { m.Lflag &^= unix.ISIG; m.Cc[unix.VSUSP] = 'Z' - '@' })
	expect("raw", "\x1a", false)
}

func TestAHungUpConsoleKeepsItsDescriptor(t *testing.T) {
	c := terminal(t)
	c.hangUp()
	if _, err := unix.IoctlGetInt(c.Master(), unix.TIOCGPTN); err == nil {
		t.Error("the terminal is not hung up")
	}
	var st, null unix.Stat_t
	if unix.Fstat(c.Master(), &st) != nil || unix.Stat("/dev/null", &null) != nil || st.Rdev != null.Rdev {
		t.Errorf("the descriptor is of device %d", st.Rdev)
	}
	if n, err := unix.Read(c.Slave(), make([]byte, 1)); n > 0 || err != nil && err != unix.EIO {
		t.Errorf("a program inside reads %d, %v", n, err)
	}
}
