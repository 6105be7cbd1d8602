package output

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/status"
)

// with has the test's descriptor be another file, and gives back what it was.
func with(t *testing.T, fd int, file *os.File) {
	t.Helper()
	before, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 10)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Dup3(int(file.Fd()), fd, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Dup3(before, fd, 0)
		unix.Close(before)
	})
}

// isOpen tells whether a descriptor is.
func isOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

func TestOutputGoesStraightThroughWhereNothingIsInBetween(t *testing.T) {
	_, w := pipe(t)
	with(t, 1, w)
	with(t, 2, w)
	for _, c := range []struct {
		limit             int64
		terminal, another bool
		record            io.Writer
		nothing           bool
		piped             [2]bool
	}{
		{nothing: true},
		{terminal: true, nothing: true},
		{another: true, nothing: true}, // of another user, but no device
		{limit: 1, piped: [2]bool{true, true}},
		{limit: 1, another: true, piped: [2]bool{true, true}},
		{record: io.Discard, piped: [2]bool{true, true}},
		{record: io.Discard, terminal: true, piped: [2]bool{false, true}}, // standard error is no terminal
	} {
		o := New(c.limit, c.terminal, c.another, "make", c.record)
		if (o == nil) != c.nothing {
			t.Errorf("%+v: %v", c, o)
			continue
		}
		if o != nil && (o.piped != c.piped || o.limit != c.limit || (o.cast != nil) != (c.record != nil)) {
			t.Errorf("%+v: %+v", c, o)
		}
	}
}

func TestAnotherUsersCommandGetsNoDeviceOfTheCallers(t *testing.T) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	_, w := pipe(t)
	with(t, 1, master)
	with(t, 2, w)
	o := New(0, false, true, "", nil)
	if o == nil || o.piped != [2]bool{true, false} {
		t.Fatalf("%+v", o)
	}
	files, _, err := Streams(true, o, 0)
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(files[1]), &st); err != nil || files[1] == 1 || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		t.Errorf("standard output is descriptor %d, %#o, %v", files[1], st.Mode, err)
	}
	if files[2] != 2 {
		t.Errorf("standard error is descriptor %d", files[2])
	}
	if err := o.Stop(Patience{}); err != nil {
		t.Error(err)
	}
	if isOpen(int(files[1])) {
		t.Error("the command's end is open after the end")
	}
}

func TestAllThatTheCommandHasWrittenComesOut(t *testing.T) {
	r, w := pipe(t)
	problems, other := pipe(t)
	with(t, 1, w)
	with(t, 2, other)
	o := New(100, false, false, "", nil)
	files, feed, err := Streams(false, o, 0)
	if err != nil || feed != nil || files[0] != 0 || files[1] == files[2] {
		t.Fatalf("%v, %v, %v", files, feed, err)
	}
	for i, text := range map[int]string{1: strings.Repeat("o", 40), 2: strings.Repeat("e", 60)} {
		if n, err := unix.Write(int(files[i]), []byte(text)); n != len(text) || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
	if err := o.Stop(Patience{}); err != nil || o.Exceeded() {
		t.Errorf("%v, exceeded: %v", err, o.Exceeded())
	}
	for i, from := range map[int]*os.File{1: r, 2: problems} {
		buffer := make([]byte, 200)
		if n, err := from.Read(buffer); err != nil || n != 20+20*i {
			t.Errorf("descriptor %d: %d bytes, %v", i, n, err)
		}
	}
}

func TestOutputBeyondTheLimitIsToldOnceAndDoesNotPass(t *testing.T) {
	o := &Output{limit: 5, Full: make(chan struct{})}
	for _, c := range []struct {
		data, passes string
		full         bool
	}{{"abc", "abc", false}, {"", "", false}, {"de", "de", false}, {"f", "", true}, {"ghi", "", true}} {
		got := o.Pass([]byte(c.data))
		full := false
		select {
		case <-o.Full:
			full = true
		default:
		}
		if string(got) != c.passes || full != c.full || o.Exceeded() != c.full {
			t.Errorf("%q: %q passes, full %v, exceeded %v", c.data, got, full, o.Exceeded())
		}
	}
	part := &Output{limit: 5, Full: make(chan struct{})}
	if got := part.Pass([]byte("abcdefgh")); string(got) != "abcde" || !part.Exceeded() {
		t.Errorf("%q, %v", got, part.Exceeded())
	}
}

func TestWhatCannotBeWrittenIsToldByTheFirstError(t *testing.T) {
	var o Output
	o.lose(1, unix.EPIPE) // whoever reads has gone: the command is told that
	if o.lost != nil {
		t.Errorf("%v", o.lost)
	}
	o.lose(2, unix.ENOSPC)
	o.lose(1, unix.EIO)
	if !errors.Is(o.lost, unix.ENOSPC) || o.lost.Error() != "write standard error: "+unix.ENOSPC.Error() {
		t.Errorf("%v", o.lost)
	}
	if err := o.Stop(Patience{}); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("at the end: %v", err)
	}
}

func TestWhoTakesOutputIsWaitedForUntilSomethingEndsThat(t *testing.T) {
	never := make(chan struct{})
	over := make(chan struct{})
	close(over)
	past := make(chan time.Time, 1)
	past <- time.Time{}
	signals := make(chan os.Signal, 3)
	signals <- syscall.SIGWINCH // nothing that ends
	signals <- syscall.SIGCONT
	signals <- syscall.SIGTERM
	for what, c := range map[string]struct {
		patience Patience
		drained  chan struct{}
		want     error
	}{
		"all has come": {Patience{}, over, nil},
		"cancelled":    {Patience{Cancelled: over}, never, context.Canceled},
		"a signal":     {Patience{Signals: signals}, never, status.ErrInterrupted{Signal: syscall.SIGTERM}},
	} {
		if err := c.patience.await(c.drained); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
	}
	if err := (Patience{Limit: past}).await(never); err == nil || err.Error() != "the time is over" {
		t.Errorf("a limit: %v", err)
	}
}

func TestOutputThatNobodyTakesIsLost(t *testing.T) {
	r, w := pipe(t)
	with(t, 1, w)
	if err := unix.SetNonblock(int(w.Fd()), true); err != nil {
		t.Fatal(err)
	}
	for { // nobody reads
		if _, err := unix.Write(1, make([]byte, 4096)); err != nil {
			break
		}
	}
	o := New(1<<20, true, false, "", nil)
	o.piped = [2]bool{true, false}
	files, err := o.Pipes()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(int(files[0]), []byte("x")); err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	close(over)
	if err := o.Stop(Patience{Cancelled: over}); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "output that nobody took is lost") {
		t.Errorf("%v", err)
	}
	// Somebody reads after all, so that the copying ends before the test.
	go func() { _, _ = io.Copy(io.Discard, r) }()
	o.copying.Wait()
	unix.Close(o.ending[0])
}

func TestAnOutputThatIsNoneHasNothingToDo(t *testing.T) {
	var o *Output
	o.Started()
	o.Resized()
	if o.Exceeded() || o.Stop(Patience{}) != nil || o.EndRecording() != nil {
		t.Error("it does")
	}
	if err := new(Output).EndRecording(); err != nil {
		t.Errorf("without a recording: %v", err)
	}
}

// failing takes nothing.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, unix.ENOSPC }

func TestARecordingThatCannotBeWrittenIsToldAtItsEnd(t *testing.T) {
	o := New(0, false, false, "make", failing{})
	if got := o.Pass([]byte("abc")); string(got) != "abc" {
		t.Errorf("%q passes", got)
	}
	if err := o.EndRecording(); !errors.Is(err, unix.ENOSPC) || !strings.HasPrefix(err.Error(), "record the output: ") {
		t.Errorf("%v", err)
	}
	var text bytes.Buffer
	o = New(0, false, false, "make", &text)
	o.Pass([]byte("abc"))
	if err := o.EndRecording(); err != nil || !strings.Contains(text.String(), `"abc"`) || !strings.Contains(text.String(), `"make"`) {
		t.Errorf("%s, %v", text.String(), err)
	}
}

func TestACommandsTerminalTakesThePlaceOfTheCallers(t *testing.T) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	r, w := pipe(t)
	with(t, 0, r)
	with(t, 1, master)
	with(t, 2, w)
	if files, feed, err := Streams(false, nil, 77); err != nil || feed != nil || files != [3]uintptr{0, 77, 2} {
		t.Errorf("%v, %v, %v", files, feed, err)
	}
	if files, feed, err := Streams(false, nil, 0); err != nil || feed != nil || files != [3]uintptr{0, 1, 2} {
		t.Errorf("%v, %v, %v", files, feed, err)
	}
}
