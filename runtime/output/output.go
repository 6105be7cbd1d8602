// Package output brings what the command writes to the user where it does not go straight through:
// it is limited, recorded, or would else reach a terminal that the command may not have. The supervisor
// and the client use it; goroutines of its own do the copying.
package output

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"mayfly/nsexec"
	"mayfly/runtime/console"
	"mayfly/runtime/status"
)

// An Output comes to the user by way of this process: it is bounded, or recorded, or on
// a terminal that the command may not have. Where the command has no terminal of its
// own, there are pipes.
type Output struct {
	limit int64         // bytes; 0: none
	Full  chan struct{} // closed when there is more
	piped [2]bool       // standard output, standard error

	mu      sync.Mutex
	passed  int64
	lost    error         // the first that could not be written
	cast    *console.Cast // nil: no recording
	writers []int         // the container's ends of the pipes
	ending  [2]int        // a pipe: the second end is closed when there will be no more
	copying sync.WaitGroup
}

// New returns nil where output goes straight through. A command of another user
// has no device of the caller's.
func New(limit int64, terminal, anotherUser bool, command string, record io.Writer) *Output {
	piped := [2]bool{true, true}
	if terminal { // which shows what comes by way of it
		piped = [2]bool{false, !term.IsTerminal(2)}
	}
	if limit == 0 && record == nil {
		if anotherUser {
			return OfAnother(piped)
		}
		return nil
	}
	o := &Output{limit: limit, Full: make(chan struct{}), piped: piped}
	if record != nil {
		width, height := 80, 24
		if size, err := unix.IoctlGetWinsize(1, unix.TIOCGWINSZ); err == nil && size.Col > 0 {
			width, height = int(size.Col), int(size.Row)
		}
		o.cast = console.NewCast(record, width, height, command)
	}
	return o
}

// OfAnother is the output of another user's command: of what does not go to its
// own terminal, what goes to a device goes through pipes. nil: nothing does.
func OfAnother(of [2]bool) *Output {
	o := &Output{piped: [2]bool{of[0] && console.IsDevice(1), of[1] && console.IsDevice(2)}}
	if o.piped == [2]bool{} {
		return nil
	}
	return o
}

// Pass takes note of output and returns how much of it may pass.
func (o *Output) Pass(data []byte) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	data = data[:o.allow(len(data))]
	if o.cast != nil && len(data) > 0 {
		o.cast.Output(data)
	}
	return data
}

// allow is how many of so many further bytes may pass. The caller holds mu.
func (o *Output) allow(n int) int {
	if o.limit == 0 || o.passed+int64(n) <= o.limit {
		o.passed += int64(n)
		return n
	}
	if o.passed <= o.limit {
		close(o.Full)
	}
	n = int(max(0, o.limit-o.passed))
	o.passed = o.limit + 1
	return n
}

// Pipes makes the command's descriptors 1 and 2, and copies what comes. Where both are
// one device they are one pipe, so that everything comes in its order; but for a
// recording and a limit, which never had it.
func (o *Output) Pipes() (files [2]uintptr, err error) {
	files = [2]uintptr{1, 2}
	if err := unix.Pipe2(o.ending[:], unix.O_CLOEXEC); err != nil {
		o.ending = [2]int{}
		return files, fmt.Errorf("pipe: %w", err)
	}
	for i := range files {
		switch {
		case !o.piped[i]:
			continue
		case i == 1 && o.piped[0] && o.limit == 0 && o.cast == nil && sameDevice(1, 2):
			files[1] = files[0]
			continue
		}
		var pipe [2]int
		err := unix.Pipe2(pipe[:], unix.O_CLOEXEC)
		if err == nil {
			err = unix.SetNonblock(pipe[0], true) // that end alone
		}
		if err != nil {
			return files, fmt.Errorf("pipe: %w", err)
		}
		_, _ = unix.FcntlInt(uintptr(pipe[1]), unix.F_SETPIPE_SZ, pieceSize) // a smaller one does, too
		o.writers = append(o.writers, pipe[1])
		files[i] = uintptr(pipe[1])
		o.copying.Go(func() { (&passage{output: o, from: pipe[0], to: i + 1}).copy() })
	}
	return files, nil
}

func sameDevice(a, b int) bool {
	var one, other unix.Stat_t
	return unix.Fstat(a, &one) == nil && unix.Fstat(b, &other) == nil && one.Rdev == other.Rdev
}

// lose takes note of what could not be written. A reader that has gone is none: the
// command is told that by its signal, as it is without us.
func (o *Output) lose(to int, err error) {
	if err == unix.EPIPE {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lost = cmp.Or(o.lost, fmt.Errorf("write standard %s: %w", [...]string{1: "output", 2: "error"}[to], err))
}

// Started closes what the command has by now.
func (o *Output) Started() {
	if o == nil {
		return
	}
	for _, fd := range o.writers {
		unix.Close(fd)
	}
	o.writers = nil
}

// Resized records that the user's terminal has another size.
func (o *Output) Resized() {
	if o == nil || o.cast == nil {
		return
	}
	if size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ); err == nil {
		o.cast.Resize(int(size.Col), int(size.Row))
	}
}

// DrainWithin bounds how long the rest is waited for when the command's time is over.
const DrainWithin = 2 * time.Second

// A Patience is what ends the waiting for who takes the output.
type Patience struct {
	Cancelled <-chan struct{}
	Signals   <-chan os.Signal
	Limit     <-chan time.Time
}

// Stop waits for the rest, after the command has ended, and returns what could not be
// written. A reader that takes its time is waited for, as the command would have.
func (o *Output) Stop(p Patience) error {
	if o == nil {
		return nil
	}
	o.Started()
	if o.ending != [2]int{} {
		unix.Close(o.ending[1])
	}
	drained := make(chan struct{})
	go func() {
		o.copying.Wait()
		close(drained)
	}()
	if err := p.await(drained); err != nil {
		return fmt.Errorf("output that nobody took is lost: %w", err)
	}
	if o.ending != [2]int{} {
		unix.Close(o.ending[0])
	}
	return o.lost
}

// await returns nil when the copying has come to its end.
func (p Patience) await(drained <-chan struct{}) error {
	for {
		select {
		case <-drained:
			return nil
		case <-p.Cancelled:
			return context.Canceled
		case <-p.Limit:
			return errors.New("the time is over")
		case got := <-p.Signals:
			if status.Terminates(got) {
				return status.ErrInterrupted{Signal: got.(syscall.Signal)}
			}
			if got == syscall.SIGTSTP { // who takes the output has stopped, and a shell waits for all of the job
				_ = nsexec.Suspend(false)
			}
		}
	}
}

// EndRecording ends the recording, and returns the first error of it.
func (o *Output) EndRecording() error {
	if o == nil || o.cast == nil {
		return nil
	}
	if err := o.cast.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("record the output: %w", err)
	}
	return nil
}

// Exceeded tells that there was more than the limit.
func (o *Output) Exceeded() bool {
	if o == nil {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.limit > 0 && o.passed > o.limit
}
