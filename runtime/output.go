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
	if p.OutputLimit == 0 && record == nil {
		if p.anotherUser() && !p.Spec.Process.Terminal {
			return outputOfAnother()
		}
		return nil
	}
	o := &output{limit: p.OutputLimit, full: make(chan struct{}), piped: [2]bool{true, true}}
	if record != nil {
		width, height := 80, 24
		if size, err := unix.IoctlGetWinsize(1, unix.TIOCGWINSZ); err == nil && size.Col > 0 {
			width, height = int(size.Col), int(size.Row)
		}
		o.cast = console.NewCast(record, width, height, strings.Join(p.Spec.Process.Args, " "))
	}
	return o
}

// outputOfAnother is the output of another user's command: what goes to a device goes
// through pipes. nil: nothing does.
func outputOfAnother() *output {
	o := &output{piped: [2]bool{console.IsDevice(1), console.IsDevice(2)}}
	if o.piped == [2]bool{} {
		return nil
	}
	return o
}

// pass takes note of output and returns how much of it may pass.
func (o *output) pass(data []byte) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.limit > 0 && o.passed+int64(len(data)) > o.limit {
		if o.passed <= o.limit {
			close(o.full)
		}
		data = data[:max(0, o.limit-o.passed)]
		o.passed = o.limit + 1
	} else {
		o.passed += int64(len(data))
	}
	if o.cast != nil && len(data) > 0 {
		o.cast.Output(data)
	}
	return data
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
		if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
			return files, fmt.Errorf("pipe: %w", err)
		}
		o.writers = append(o.writers, pipe[1])
		files[i] = uintptr(pipe[1])
		o.copying.Go(func() { o.copy(pipe[0], i+1) })
	}
	return files, nil
}

func sameDevice(a, b int) bool {
	var one, other unix.Stat_t
	return unix.Fstat(a, &one) == nil && unix.Fstat(b, &other) == nil && one.Rdev == other.Rdev
}

// copy reads to the end even when nothing may pass any more: the command is being told
// to end. When it has ended, what it wrote is in the pipe: somebody else who holds that
// open is not waited for.
func (o *output) copy(from, to int) {
	defer unix.Close(from)
	buffer := make([]byte, 64<<10)
	for rest := -1; rest != 0; { // -1: all that comes
		fds := [...]unix.PollFd{{Fd: int32(from), Events: unix.POLLIN}, {Fd: int32(o.ending[0]), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds[:], -1); err == unix.EINTR {
			continue
		} else if err != nil {
			return
		}
		if rest < 0 && fds[1].Revents != 0 {
			rest = unread(from)
			continue
		}
		n, err := unix.Read(from, buffer)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 {
			return
		}
		if rest > 0 {
			rest = max(0, rest-n)
		}
		if err := console.WriteAll(to, o.pass(buffer[:n])); err != nil {
			o.lose(to, err)
			return // the command gets SIGPIPE
		}
	}
}

// unread is how many bytes are in a pipe.
func unread(pipe int) int {
	n, err := unix.IoctlGetInt(pipe, unix.TIOCINQ) // FIONREAD
	if err != nil {
		return 0
	}
	return n
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
