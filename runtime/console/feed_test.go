package console

import (
	"os"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// terminal makes a pseudo-terminal of the host's: its other end, and its own.
func terminal(t *testing.T) *Console {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close(); slave.Close() })
	return &Console{master: int(master.Fd()), slave: int(slave.Fd())}
}

func TestWhatIsADevice(t *testing.T) {
	c := terminal(t)
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	is := map[int]bool{c.Slave(): true, c.Master(): true, int(file.Fd()): false, pipe[0]: false, 9999: false, -1: false}
	for name, want := range map[string]bool{"/dev/null": false, "/dev/zero": false, "/dev/urandom": false, "/dev/full": false, "/dev/ptmx": true} {
		fd, err := unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		is[fd] = want
	}
	for fd, want := range is {
		if IsDevice(fd) != want {
			t.Errorf("descriptor %d: %v", fd, !want)
		}
	}
}

// Milliseconds that are waited for what comes, and for what shall not come.
const (
	patience = 30_000
	moment   = 100
)

// hasData waits until there is something to read.
func hasData(fd, within int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, within)
	for err == unix.EINTR {
		n, err = unix.Poll(fds, within)
	}
	return n == 1
}

// reads reads what there is within a time, "" for nothing.
func reads(t *testing.T, fd, within int) string {
	t.Helper()
	if !hasData(fd, within) {
		return ""
	}
	buffer := make([]byte, 100)
	n, err := unix.Read(fd, buffer)
	if err != nil {
		t.Fatal(err)
	}
	return string(buffer[:n])
}

func TestAFeedReadsOneLineAhead(t *testing.T) {
	c := terminal(t)
	f, err := NewFeed(c.Slave())
	if err != nil {
		t.Fatal(err)
	}
	command, err := unix.FcntlInt(uintptr(f.Command()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(command)
	if _, err := unix.Write(c.Master(), []byte("one\ntwo\nthree\n")); err != nil {
		t.Fatal(err)
	}
	if got := reads(t, command, moment); got != "" {
		t.Errorf("before the command runs: %q", got)
	}
	f.Start()
	if got := reads(t, command, patience); got != "one\n" {
		t.Errorf("the command reads %q", got)
	}
	if !hasData(command, patience) { // it is one line ahead
		t.Error("there is no second line")
	}
	f.Stop()
	if got := reads(t, c.Slave(), patience); got != "three\n" {
		t.Errorf("the next program reads %q", got)
	}
}

func TestAFeedEndsWithItsReaderAndItsDevice(t *testing.T) {
	for what, end := range map[string]func(c *Console, command int) int{
		"the device": func(c *Console, command int) int { c.hangUp(); return command },
		"its key":    func(c *Console, command int) int { _, _ = unix.Write(c.Master(), []byte{4}); return command },
	} {
		c := terminal(t)
		f, err := NewFeed(c.Slave())
		if err != nil {
			t.Fatal(err)
		}
		command, err := unix.FcntlInt(uintptr(f.Command()), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.Start()
		if ends := end(c, command); !hasData(ends, patience) {
			t.Errorf("%s: the command waits", what)
		}
		if got := reads(t, command, moment); got != "" {
			t.Errorf("%s: %q", what, got)
		}
		f.Stop()
		unix.Close(command)
	}
}
