package console

import (
	"errors"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// The command must not wait for a reader that will never come back.
func TestWhatCannotBeShownIsTold(t *testing.T) {
	user, container := terminal(t), terminal(t)
	full, err := unix.Open("/dev/full", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(full)
	relay, err := container.Start(user.Slave(), full, func() {})
	if err != nil {
		t.Fatal(err)
	}
	line := []byte("a line of a command's\n")
	for err == nil {
		_, err = unix.Write(container.Slave(), line)
	}
	if err != unix.EIO {
		t.Errorf("the command is told %v", err)
	}
	if err := relay.Stop(); err != nil {
		t.Error(err)
	}
	if err := relay.Lost(); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("told: %v", err)
	}
}

// A terminal that has gone does not come again: nothing is left to do, though somebody
// inside has the console open still.
func TestARelayOnDemandEndsWithTheTerminal(t *testing.T) {
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	container := terminal(t)
	inside, err := unix.Dup(container.Slave())
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(inside)
	user, err := unix.Dup(int(slave.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	relay, err := container.StartOnDemand(user, func() {})
	if err != nil {
		t.Fatal(err)
	}
	for !relay.console.Reads() { // until they are connected
		time.Sleep(time.Millisecond)
	}
	master.Close()
	select {
	case <-relay.done:
		if relay.console.Reads() {
			t.Error("it reads what nobody types")
		}
	case <-time.After(patience * time.Millisecond):
		t.Error("it goes on")
	}
	if err := relay.Stop(); err != nil {
		t.Error(err)
	}
}

func TestThreeEscapesWithinASecondKill(t *testing.T) {
	start := time.Unix(1000, 0)
	type key struct {
		typed string
		after time.Duration
	}
	for _, c := range []struct {
		what string
		keys []key
		want bool
	}{
		{"three at once", []key{{"\x1d\x1d\x1d", 0}}, true},
		{"three in nine tenths", []key{{"\x1d", 0}, {"\x1d", 400 * time.Millisecond}, {"\x1d", 900 * time.Millisecond}}, true},
		{"other keys between", []key{{"\x1da\x1db", 0}, {"\x1d", 100 * time.Millisecond}}, true},
		{"two", []key{{"\x1d\x1d", 0}}, false},
		{"too slow", []key{{"\x1d", 0}, {"\x1d", 600 * time.Millisecond}, {"\x1d", 1200 * time.Millisecond}}, false},
		{"a late fourth counts from the second", []key{{"\x1d", 0}, {"\x1d\x1d", 1100 * time.Millisecond}, {"\x1d", 1200 * time.Millisecond}}, true},
	} {
		var e escapes
		got := false
		for _, k := range c.keys {
			got = e.seen([]byte(k.typed), start.Add(k.after)) || got
		}
		if got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}
