package runtime

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/console"
)

// An output is looked at on its way from the container to the user: it is bounded, or recorded, or both. Where there is no
// terminal between them, there are two pipes.
type output struct {
	limit int64         // bytes; 0: none
	full  chan struct{} // closed when there is more

	mu      sync.Mutex
	passed  int64
	cast    *console.Cast // nil: no recording
	writers []int         // the container's ends of the pipes
	copying sync.WaitGroup
}

// newOutput returns nil where output goes straight through.
func newOutput(p *Plan, record io.Writer) *output {
	if p.OutputLimit == 0 && record == nil {
		return nil
	}
	o := &output{limit: p.OutputLimit, full: make(chan struct{})}
	if record != nil {
		width, height := 80, 24
		if size, err := unix.IoctlGetWinsize(1, unix.TIOCGWINSZ); err == nil && size.Col > 0 {
			width, height = int(size.Col), int(size.Row)
		}
		o.cast = console.NewCast(record, width, height, strings.Join(p.Spec.Process.Args, " "))
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

// pipes makes the command's descriptors 1 and 2, and copies what comes.
func (o *output) pipes() (files [2]uintptr, err error) {
	for i := range files {
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

// copy reads to the end even when nothing may pass any more: the command is being told to end.
func (o *output) copy(from, to int) {
	defer unix.Close(from)
	buffer := make([]byte, 64<<10)
	for {
		n, err := unix.Read(from, buffer)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 {
			return
		}
		data := o.pass(buffer[:n])
		for len(data) > 0 {
			n, err := unix.Write(to, data)
			switch {
			case err == unix.EINTR:
			case err == unix.EAGAIN:
				_, _ = unix.Poll([]unix.PollFd{{Fd: int32(to), Events: unix.POLLOUT}}, -1)
			case err != nil:
				return // nobody wants it: the command gets SIGPIPE
			default:
				data = data[n:]
			}
		}
	}
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

// drainWithin bounds how long the end of a pipe is waited for, which somebody outside may hold open.
const drainWithin = 2 * time.Second

// stop waits for the rest, after every process of the container has ended, and ends the recording.
func (o *output) stop() error {
	if o == nil {
		return nil
	}
	o.started()
	drained := make(chan struct{})
	go func() {
		o.copying.Wait()
		close(drained)
	}()
	select {
	case <-drained:
	case <-time.After(drainWithin):
	}
	if o.cast == nil {
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
