package output

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"mayfly/runtime/console"
)

// pipe is closed at the end of the test, where that has not happened.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	r, w = os.NewFile(uintptr(fds[0]), "r"), os.NewFile(uintptr(fds[1]), "w")
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// passed is what comes out where data goes in.
func passed(t *testing.T, o *Output, to *os.File, data []byte) {
	t.Helper()
	end, ended := pipe(t)
	o.ending = [2]int{int(end.Fd()), int(ended.Fd())}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		t.Fatal(err)
	}
	go func() {
		for len(data) > 0 {
			n, err := unix.Write(fds[1], data[:min(len(data), 1+rand.IntN(100000))])
			if err != nil {
				break
			}
			data = data[n:]
		}
		unix.Close(fds[1])
	}()
	(&passage{output: o, from: fds[0], to: int(to.Fd())}).copy()
}

// targets are what output can go to: how to make one, and what is in it afterwards.
var targets = map[string]func(t *testing.T) (to *os.File, got func() []byte){
	"a file":                     func(t *testing.T) (*os.File, func() []byte) { return fileTarget(t, 0) },
	"a file that is appended to": func(t *testing.T) (*os.File, func() []byte) { return fileTarget(t, os.O_APPEND) },
	"a pipe":                     func(t *testing.T) (*os.File, func() []byte) { return pipeTarget(t, false) },
	"one that does not wait":     func(t *testing.T) (*os.File, func() []byte) { return pipeTarget(t, true) },
}

func fileTarget(t *testing.T, flags int) (*os.File, func() []byte) {
	name := filepath.Join(t.TempDir(), "file")
	file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|flags, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return file, func() []byte {
		text, _ := os.ReadFile(name)
		return text
	}
}

func pipeTarget(t *testing.T, nonblocking bool) (*os.File, func() []byte) {
	r, w := pipe(t)
	if err := unix.SetNonblock(int(w.Fd()), nonblocking); err != nil {
		t.Fatal(err)
	}
	all := make(chan []byte)
	go func() {
		text, _ := io.ReadAll(r)
		all <- text
	}()
	return w, func() []byte { return <-all }
}

func TestWhatPassesIsAllOfItUpToTheLimit(t *testing.T) {
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	for _, limit := range []int64{0, 1, 4096, 300_001, 1 << 20, 1 << 30} {
		want := data
		if limit > 0 && limit < int64(len(data)) {
			want = data[:limit]
		}
		for what, target := range targets {
			for _, cast := range []*console.Cast{nil, console.NewCast(io.Discard, 1, 1, "")} {
				o := &Output{limit: limit, Full: make(chan struct{}), cast: cast}
				to, got := target(t)
				passed(t, o, to, data)
				to.Close()
				if got := got(); !bytes.Equal(got, want) || o.Exceeded() != (len(want) < len(data)) || o.lost != nil {
					t.Errorf("%s, limit %d, recorded %v: %d bytes, want %d; %v", what, limit, cast != nil, len(got), len(want), o.lost)
				}
			}
		}
	}
}

// A command can read its own pipe. What it has read does not pass, and nobody waits for
// it.
func TestWhatTheCommandTakesBackIsNotWaitedFor(t *testing.T) {
	for _, noSplice := range []bool{false, true} {
		r, w := pipe(t)
		if err := unix.SetNonblock(int(r.Fd()), true); err != nil {
			t.Fatal(err)
		}
		p := &passage{output: &Output{}, from: int(r.Fd()), to: int(w.Fd()), noSplice: noSplice}
		if n, err := p.piece(); n != 0 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if n, err := p.move(100); n != 0 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
}
