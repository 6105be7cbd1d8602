package control

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func pair(t *testing.T) (a, b *Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	var errs [2]error
	a, errs[0] = newConn(fds[0])
	b, errs[1] = newConn(fds[1])
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func (c *Conn) sendRaw(data string, files ...int) error {
	var sent error
	err := c.raw.Control(func(socket uintptr) {
		sent = unix.Sendmsg(int(socket), []byte(data), unix.UnixRights(files...), nil, 0)
	})
	return errors.Join(err, sent)
}

func TestAMessageArrivesWithItsDescriptors(t *testing.T) {
	a, b := pair(t)
	sent := Request{Exec: &Exec{Args: []string{"sh", "-c", strings.Repeat("x", 1<<20)}, Env: []string{"A=\x01ü"}}}
	go a.Send(sent, 0, 1, 2)
	var got Request
	files, err := b.Receive(&got)
	if err != nil || len(files) != 3 || got.Exec == nil || got.Exec.Args[2] != sent.Exec.Args[2] || got.Exec.Env[0] != sent.Exec.Env[0] {
		t.Fatalf("%d descriptors, %v", len(files), err)
	}
	for i, fd := range files {
		var here, there unix.Stat_t
		if unix.Fstat(i, &here) != nil || unix.Fstat(fd, &there) != nil || here.Ino != there.Ino {
			t.Errorf("descriptor %d is another file", i)
		}
		if flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d stays open over execve", i)
		}
		unix.Close(fd)
	}
}

// open counts the process's descriptors.
func open(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestBadMessagesAreRefusedAndLeaveNoDescriptor(t *testing.T) {
	for what, data := range map[string]string{
		"cut":             "\x00\x00\x00\x05{\"a",
		"no JSON":         "\x00\x00\x00\x02{]",
		"another type":    "\x00\x00\x00\x0e{\"signal\":\"x\"}",
		"an empty one":    "\x00\x00\x00\x00",
		"too long":        "\xff\xff\xff\xff{}",
		"half a length":   "\x00\x00",
		"a number beyond": "\x00\x00\x00\x1e{\"signal\":99999999999999999999}",
	} {
		a, b := pair(t)
		before := open(t)
		if err := a.sendRaw(data, 0, 1); err != nil {
			t.Fatal(err)
		}
		a.Hangup()
		var q Request
		if files, err := b.Receive(&q); err == nil || files != nil {
			t.Errorf("%s: accepted: %+v", what, q)
		}
		if after := open(t); after != before {
			t.Errorf("%s: %d descriptors, %d before", what, after, before)
		}
	}
	a, b := pair(t)
	before := open(t)
	if err := a.sendRaw("\x00\x00\x00\x02{}", 0, 1, 2, 0, 1, 2); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Receive(&Request{}); err == nil || open(t) != before {
		t.Errorf("six descriptors: %v", err)
	}
	c, d := pair(t)
	c.Hangup()
	if _, err := d.Receive(&Request{}); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func TestASilentPeerIsNotWaitedForLongerThanSaid(t *testing.T) {
	_, b := pair(t)
	b.Within(10 * time.Millisecond)
	if _, err := b.Receive(&Request{}); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestOnlyTheNamedUsersAreAnswered(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".x")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	alive := func() bool { return true }
	stranger, err := Dial(path, time.Minute, alive)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	accepted := make(chan error)
	go func() {
		_, err := l.Accept(uint32(os.Getuid()) + 1)
		accepted <- err
	}()
	if _, err := stranger.Receive(&Reply{}); !errors.Is(err, io.EOF) && err != unix.ECONNRESET {
		t.Errorf("a stranger: %v", err)
	}
	l.Close()
	if err := <-accepted; err == nil {
		t.Error("a stranger was accepted")
	}
}
