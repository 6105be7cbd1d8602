package network

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"mayfly/runtime/network/address"

	"golang.org/x/sys/unix"
)

// loopback is where the tests' servers are, in the place of a container.
const loopback address.Address = 127<<24 | 1

// server answers at a port of its own.
func server(t *testing.T, answer func(net.Conn)) uint16 {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				answer(c)
			}()
		}
	}()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

// published publishes a port at one that the kernel chooses, and returns how it is
// called.
func published(t *testing.T, inside uint16) (*Published, string) {
	t.Helper()
	p, err := Publish([]address.Port{{Container: inside}})
	if err != nil {
		t.Fatal(err)
	}
	address, err := unix.Getsockname(int(p.listeners[0].Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(int(p.listeners[0].Fd()), true); err != nil { // which Fd has changed
		t.Fatal(err)
	}
	p.Serve(loopback)
	return p, "127.0.0.1:" + strconv.Itoa(address.(*unix.SockaddrInet4).Port)
}

func dialled(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

func TestConnectionsPassInBothDirectionsToTheirEnd(t *testing.T) {
	// The server answers when the other has said all: so it has to hear of the end.
	p, address := published(t, server(t, func(c net.Conn) {
		data, _ := io.ReadAll(c)
		_, _ = c.Write(bytes.ToUpper(data))
	}))
	text := bytes.Repeat([]byte("abcdefgh"), 1<<17)
	results := make(chan error, 8)
	for range cap(results) {
		c := dialled(t, address)
		go func() {
			written := make(chan error, 1)
			go func() {
				_, err := c.Write(text)
				written <- errors.Join(err, c.CloseWrite())
			}()
			got, err := io.ReadAll(c)
			if err == nil && !bytes.Equal(got, bytes.ToUpper(text)) {
				err = errors.New("another answer came")
			}
			results <- errors.Join(err, <-written)
		}()
	}
	for range cap(results) {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
}

func TestTheEndOfTheContainerEndsConnections(t *testing.T) {
	p, address := published(t, server(t, func(c net.Conn) {
		_, _ = c.Write([]byte("x"))
		_, _ = io.Copy(io.Discard, c)
	}))
	c := dialled(t, address)
	if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if err := p.Stop(); err != nil { // it waits for what passes
		t.Error(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("more comes after the end")
	}
	if c, err := net.Dial("tcp4", address); err == nil {
		c.Close()
		t.Error("somebody answers after the end")
	}
	var none *Published
	if err := none.Stop(); err != nil {
		t.Errorf("of nothing: %v", err)
	}
}

func TestWhatNobodyAnswersInsideIsHungUp(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := uint16(l.Addr().(*net.TCPAddr).Port)
	l.Close()
	p, address := published(t, gone)
	defer p.Stop()
	c := dialled(t, address)
	if data, err := io.ReadAll(c); len(data) > 0 {
		t.Errorf("%q, %v", data, err)
	}
}

func TestAPortThatIsTakenIsAnErrorAndLeavesNothing(t *testing.T) {
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := uint16(l.Addr().(*net.TCPAddr).Port)
	p, err := Publish([]address.Port{{Host: 0, Container: 80}, {Host: taken, Container: 81}})
	want := "--publish " + strconv.Itoa(int(taken)) + ":81: port " + strconv.Itoa(int(taken)) + " of the host: "
	if p != nil || !errors.Is(err, unix.EADDRINUSE) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v, %v", p, err)
	}
	if p, err := Publish(nil); err != nil || len(p.listeners) != 0 || p.Stop() != nil {
		t.Errorf("nothing: %v, %v", p, err)
	}
}

func TestHowManyConnectionsPassIsBounded(t *testing.T) {
	p, err := Publish(nil)
	if err != nil {
		t.Fatal(err)
	}
	connection := func() *os.File {
		f, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	first := connection()
	for i := range maxConnections {
		c := first
		if i > 0 {
			c = connection()
		}
		if !p.add(c) {
			t.Fatalf("connection %d is refused", i)
		}
	}
	more := connection()
	if p.add(more) {
		t.Errorf("%d connections at a time", maxConnections+1)
	}
	if err := more.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("one that is refused is open: %v", err)
	}
	p.remove(first)
	if !p.add(connection()) {
		t.Error("there is room, and one is refused")
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	late := connection()
	if p.add(late) || !errors.Is(late.Close(), os.ErrClosed) {
		t.Error("one that comes after the end is taken on, or left open")
	}
}
