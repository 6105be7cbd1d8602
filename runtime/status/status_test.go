package status

import (
	"encoding/json"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"
)

func TestHowACommandEndedIsAnExitStatusAndASentence(t *testing.T) {
	for _, c := range []struct {
		end  End
		exit int
		text string
	}{
		{End{}, 0, "exited successfully"},
		{End{Code: 1}, 1, "failed with error code 1"},
		{End{Code: 255}, 255, "failed with error code 255"},
		{End{Signal: syscall.SIGKILL}, 137, "terminated by signal KILL"},
		{End{Signal: 40}, 168, "terminated by signal 40"}, // a real-time signal, which has no name
		{End{TimedOut: true, Signal: syscall.SIGTERM}, ExitTimeout, "ended at its time limit"},
		{End{TimedOut: true}, ExitTimeout, "ended at its time limit"}, // and exited with 0 when it was told to end
		{End{Flooded: true, Code: 3}, ExitTimeout, "ended at its output limit"},
	} {
		if exit, text := c.end.ExitCode(), c.end.String(); exit != c.exit || text != c.text {
			t.Errorf("%+v: %d, %q; want %d, %q", c.end, exit, text, c.exit, c.text)
		}
	}
}

func TestAWaitStatusIsRead(t *testing.T) {
	for ws, want := range map[syscall.WaitStatus]End{
		0x0000: {}, 0x0700: {Code: 7}, 0xff00: {Code: 255}, 0x0009: {Signal: syscall.SIGKILL}, 0x008b: {Signal: syscall.SIGSEGV}, // with a core dump
	} {
		if got := EndOf(ws); got != want {
			t.Errorf("%#x: %+v, want %+v", uint32(ws), got, want)
		}
	}
}

func TestErrorsHaveExitStatuses(t *testing.T) {
	missing := &CommandError{Command: "make", Reason: "not found", Code: ExitNotFound}
	for _, c := range []struct {
		err  error
		want int
	}{
		{errors.New("anything"), 125},
		{missing, 127},
		{&CommandError{Command: "/etc", Reason: "is a directory", Code: ExitNotExecutable}, 126},
		{fmt.Errorf("execute: %w", missing), 127},
		{ErrInterrupted{syscall.SIGINT}, 130},
		{errors.Join(errors.New("clean up"), fmt.Errorf("mount: %w", ErrInterrupted{syscall.SIGTERM})), 143},
		{errors.Join(ErrInterrupted{syscall.SIGTERM}, missing), 127}, // the command's own word comes first
	} {
		if got := ExitCodeOf(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
	if got := missing.Error(); got != "make: not found" {
		t.Errorf("%q", got)
	}
	if got := (ErrInterrupted{syscall.SIGHUP}).Error(); got != "interrupted by SIGHUP" {
		t.Errorf("%q", got)
	}
}

func TestOnlyTheSignalsThatAskForTheEndTerminate(t *testing.T) {
	for signal, want := range map[syscall.Signal]bool{
		syscall.SIGINT: true, syscall.SIGTERM: true, syscall.SIGHUP: true, syscall.SIGQUIT: true,
		syscall.SIGTSTP: false, syscall.SIGCONT: false, syscall.SIGWINCH: false, syscall.SIGUSR1: false, syscall.SIGUSR2: false,
	} {
		if got := Terminates(signal); got != want {
			t.Errorf("%v: %v", signal, got)
		}
	}
	if Terminates(nil) {
		t.Error("no signal terminates") // as it comes from a channel that is closed
	}
}

// What is written is what programs read that others have written: the names may not
// change.
func TestAReportSaysWhatIsKnownAndNothingElse(t *testing.T) {
	peak, kills := int64(4096), int64(0)
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	const times = `"command":null,"began":"2026-01-02T03:04:05Z","ended":"2026-01-02T03:04:06Z"}`
	for _, c := range []struct {
		status Status
		err    error
		want   string
	}{
		{Status{}, nil, `{"reason":"command","exit":0,`},
		{Status{End: End{Code: 2}, Used: &Usage{Of: "command", Wall: 1.5}}, nil, `{"of":"command","wallSeconds":1.5,"userSeconds":0,"systemSeconds":0,"reason":"command","exit":2,`},
		{Status{End: End{Signal: syscall.SIGKILL, TimedOut: true}, Used: &Usage{Of: "container", MemoryPeak: &peak, OOMKills: &kills}}, nil,
			`{"of":"container","wallSeconds":0,"userSeconds":0,"systemSeconds":0,"memoryPeakBytes":4096,"oomKills":0,"reason":"timeout","exit":124,"signal":"KILL","timedOut":true,`},
		{Status{End: End{Flooded: true}}, nil, `{"reason":"output-limit","exit":124,"flooded":true,`},
		{Status{}, errors.New("x"), `{"reason":"machine","exit":125,"error":"x",`},
		{Status{}, fmt.Errorf("a: %w", &CommandError{Command: "make", Reason: "not found", Code: ExitNotFound}), `{"reason":"not-found","exit":127,"error":"a: make: not found",`},
		{Status{}, &CommandError{Command: "/etc", Reason: "is a directory", Code: ExitNotExecutable}, `{"reason":"not-executable","exit":126,"error":"/etc: is a directory",`},
		{Status{}, ErrInterrupted{syscall.SIGTERM}, `{"reason":"interrupted","exit":143,"error":"interrupted by SIGTERM",`},
	} {
		r := ReportOf(c.status, c.err)
		r.Began, r.Ended = began, began.Add(time.Second)
		if got, err := json.Marshal(r); err != nil || string(got) != c.want+times {
			t.Errorf("%v\ngot  %s\nwant %s", err, got, c.want+times)
		}
	}
}
