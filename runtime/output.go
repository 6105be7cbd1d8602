package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"mayfly/nsexec"
	"mayfly/runtime/console"
)

// An output comes to the user by way of this process: it is bounded, or recorded, or on
// a terminal that the command may not have. Where the command has no terminal of its
// own, there are pipes.
type output struct {
	limit int64         // bytes; 0: none
	full  chan struct{} // closed when there is more
	piped [2]bool       // standard output, standard error

	mu      sync.Mutex
	passed  int64
	lost    error         // the first that could not be written
	cast    *console.Cast // nil: no recording
	writers []int         // the container's ends of the pipes
	ending  [2]int        // a pipe: the second end is closed when there will be no more
	copying sync.WaitGroup
}

// newOutput returns nil where output goes straight through. A command of another user
// has no device of the caller's.
func newOutput(p *Plan, record io.Writer) *output {
	piped := [2]bool{true, true}
	if p.Spec.Process.Terminal { // which shows what comes by way of it
		piped = [2]bool{false, !term.IsTerminal(2)}
	}
	if p.OutputLimit == 0 && record == nil {
		if p.anotherUser() {
			return outputOfAnother(piped)
		}
		return nil
	}
	o := &output{limit: p.OutputLimit, full: make(chan struct{}), piped: piped}
	if record != nil {
		width, height := 80, 24
		if size, err := unix.IoctlGetWinsize(1, unix.TIOCGWINSZ); err == nil && size.Col > 0 {
			width, height = int(size.Col), int(size.Row)
		}
		o.cast = console.NewCast(record, width, height, strings.Join(p.Spec.Process.Args, " "))
	}
	return o
}

// outputOfAnother is the output of another user's command: of what does not go to its
// own terminal, what goes to a device goes through pipes. nil: nothing does.
func outputOfAnother(of [2]bool) *output {
	o := &output{piped: [2]bool{of[0] && console.IsDevice(1), of[1] && console.IsDevice(2)}}
	if o.piped == [2]bool{} {
		return nil
	}
	return o
}

// pass takes note of output and returns how much of it may pass.
func (o *output) pass(data []byte) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	data = data[:o.allow(len(data))]
	if o.cast != nil && len(data) > 0 {
		o.cast.Output(data)
	}
	return data
}

// allow is how many of so many further bytes may pass. The caller holds mu.
func (o *output) allow(n int) int {
	if o.limit == 0 || o.passed+int64(n) <= o.limit {
		o.passed += int64(n)
		return n
	}
	if o.passed <= o.limit {
		close(o.full)
	}
	n = int(max(0, o.limit-o.passed))
	o.passed = o.limit + 1
	return n
}

// pipes makes the command's descriptors 1 and 2, and copies what comes. Where both are
// one device they are one pipe, so that everything comes in its order; but for a
// recording and a limit, which never had it.
func (o *output) pipes() (files [2]uintptr, err error) {
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
func (o *output) lose(to int, err error) {
	if err == unix.EPIPE {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lost = cmp.Or(o.lost, fmt.Errorf("write standard %s: %w", [...]string{1: "output", 2: "error"}[to], err))
}

// started closes what the command has by now.
func (o *output) started() {
	if o == nil {
		return
	}
	for _, fd := range o.writers {
		unix.Close(fd)
	}
	o.writers = nil
}

// resized records that the user's terminal has another size.
func (o *output) resized() {
	if o == nil || o.cast == nil {
		return
	}
	if size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ); err == nil {
		o.cast.Resize(int(size.Col), int(size.Row))
	}
}

// drainWithin bounds how long the rest is waited for when the command's time is over.
const drainWithin = 2 * time.Second

// A patience is what ends the waiting for who takes the output.
type patience struct {
	cancelled <-chan struct{}
	signals   <-chan os.Signal
	limit     <-chan time.Time
}

// stop waits for the rest, after the command has ended, and returns what could not be
// written. A reader that takes its time is waited for, as the command would have.
func (o *output) stop(p patience) error {
	if o == nil {
		return nil
	}
	o.started()
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
func (p patience) await(drained <-chan struct{}) error {
	for {
		select {
		case <-drained:
			return nil
		case <-p.cancelled:
			return context.Canceled
		case <-p.limit:
			return errors.New("the time is over")
		case got := <-p.signals:
			if terminates(got) {
				return ErrInterrupted{got.(syscall.Signal)}
			}
			if got == syscall.SIGTSTP { // who takes the output has stopped, and a shell waits for all of the job
				_ = nsexec.Suspend(false)
			}
		}
	}
}

// endRecording ends the recording, and returns the first error of it.
func (o *output) endRecording() error {
	if o == nil || o.cast == nil {
		return nil
	}
	if err := o.cast.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("record the output: %w", err)
	}
	return nil
}

// exceeded tells that there was more than the limit.
func (o *output) exceeded() bool {
	if o == nil {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.limit > 0 && o.passed > o.limit
}
