// Package output copies what the command writes to the user, where it cannot go there
// directly: it is limited or recorded, or would reach a terminal that the command may
// not have. The supervisor and the client use it. Goroutines of its own copy.
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

// An Output is a command's output that this process copies: it is limited, or recorded,
// or goes to a terminal that the command may not have. Without a terminal of its own
// the command writes to pipes. A nil Output copies nothing.
type Output struct {
	limit int64         // bytes; 0: no limit
	Full  chan struct{} // closed when the limit is exceeded
	piped [2]bool       // which of standard output and error are pipes

	mu      sync.Mutex
	passed  int64
	lost    error         // the first error of writing
	cast    *console.Cast // nil: no recording
	writers []int         // the command's ends of the pipes
	ending  [2]int        // a pipe; its second end is closed at the command's end
	copying sync.WaitGroup
}

// New returns nil if the command's output needs no copying. A command of another user
// gets no device of the caller's. limit is in bytes; 0: none. terminal tells that the
// command has its own. command is for the head of the recording. record gets an
// asciicast; nil: none.
func New(limit int64, terminal, anotherUser bool, command string, record io.Writer) *Output {
	piped := [2]bool{true, true}
	if terminal { // the terminal's relay calls Pass
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

// OfAnother returns the Output of a command of another user. of tells which of standard
// output and error are not on a terminal of the command's own; those that go to a
// device are copied. It returns nil if none is.
func OfAnother(of [2]bool) *Output {
	o := &Output{piped: [2]bool{of[0] && console.IsDevice(1), of[1] && console.IsDevice(2)}}
	if o.piped == [2]bool{} {
		return nil
	}
	return o
}

// Pass counts and records output, and returns how much of it may pass. It is called on
// goroutines that copy.
func (o *Output) Pass(data []byte) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	data = data[:o.allow(len(data))]
	if o.cast != nil && len(data) > 0 {
		o.cast.Output(data)
	}
	return data
}

// allow returns how many of n further bytes may pass. The caller holds mu.
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

// Pipes makes the command's descriptors 1 and 2, owned by the Output, and starts to
// copy. If both go to the same device they are one pipe, which keeps their order; but
// not if the output is recorded or limited.
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
			err = unix.SetNonblock(pipe[0], true) // the command's end stays blocking
		}
		if err != nil {
			return files, fmt.Errorf("pipe: %w", err)
		}
		// The pipe is enlarged. A smaller one will do, too.
		_, _ = unix.FcntlInt(uintptr(pipe[1]), unix.F_SETPIPE_SZ, pieceSize)
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

// lose keeps the first error of writing. EPIPE is none: the command gets SIGPIPE for
// it, as it would without this process between.
func (o *Output) lose(to int, err error) {
	if err == unix.EPIPE {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lost = cmp.Or(o.lost, fmt.Errorf("write standard %s: %w", [...]string{1: "output", 2: "error"}[to], err))
}

// Started closes the command's ends of the pipes, when the command has them.
func (o *Output) Started() {
	if o == nil {
		return
	}
	for _, fd := range o.writers {
		unix.Close(fd)
	}
	o.writers = nil
}

// Resized records the new size of the user's terminal.
func (o *Output) Resized() {
	if o == nil || o.cast == nil {
		return
	}
	if size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ); err == nil {
		o.cast.Resize(int(size.Col), int(size.Row))
	}
}

// DrainWithin bounds how long a reader is waited for after a command that was ended for
// its time.
const DrainWithin = 2 * time.Second

// A Patience tells what ends the waiting for a reader.
type Patience struct {
	Cancelled <-chan struct{}
	Signals   <-chan os.Signal
	Limit     <-chan time.Time
}

// Stop waits after the command's end until its output is copied. A slow reader is
// waited for, as the command itself would. It returns what could not be written.
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

// await waits until drained is closed. The error tells what has ended the waiting.
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
			// The reader has been stopped, and a shell waits until all of the job is.
			if got == syscall.SIGTSTP {
				_ = nsexec.Suspend(false)
			}
		}
	}
}

// EndRecording ends the recording and returns the first error of it.
func (o *Output) EndRecording() error {
	if o == nil || o.cast == nil {
		return nil
	}
	if err := o.cast.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("record the output: %w", err)
	}
	return nil
}

// Exceeded tells that the command wrote more than the limit.
func (o *Output) Exceeded() bool {
	if o == nil {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.limit > 0 && o.passed > o.limit
}
