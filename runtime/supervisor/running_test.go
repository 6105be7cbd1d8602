package supervisor

import (
	"context"
	"errors"
	"io"
	"os"
	goruntime "runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/control"
	"mayfly/runtime/here"
	"mayfly/runtime/job"
	"mayfly/runtime/launch"
	"mayfly/runtime/plan"
	"mayfly/runtime/status"
)

// started starts a shell in the place of a container's command, which has said that it
// is ready.
func started(t *testing.T, script string) *nsexec.Process {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0) // the shell tells there of what it has ended
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	files := [3]uintptr{null.Fd(), w.Fd(), null.Fd()}
	var process *nsexec.Process
	done := make(chan struct{})
	go func() {
		defer close(done)
		goruntime.LockOSThread() // and never unlocked, as a launch's
		process, err = nsexec.StartCommand(nsexec.Command{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"}, Files: files})
	}()
	<-done
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = process.SignalGroup(unix.SIGKILL) })
	if n, err := io.ReadFull(r, make([]byte, len("ready\n"))); err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	return process
}

// newSupervisor is one whose launch is the test.
func newSupervisor(p *plan.Plan) *supervisor {
	s := &supervisor{root: newProvision(here.Here{}, nil), jobs: job.New(), logged: make(chan struct{})}
	s.Launch = launch.New(here.Here{}, p, s.root.Root, launch.Outside{Note: func(string) {}, Warn: func(string) {}})
	return s
}

func TestTheLaunchIsWaitedFor(t *testing.T) {
	failure := errors.New("mount: no")
	for _, want := range []error{nil, failure} {
		s := newSupervisor(&plan.Plan{})
		go func() { s.Started <- want }()
		if ended, how, err := s.awaitStart(context.Background()); ended || how != (status.Status{}) || err != want {
			t.Errorf("%v: %v, %+v, %v", want, ended, how, err)
		}
	}
}

// takesSteps is what a launch does between its steps, until it is told to end.
func takesSteps(s *supervisor) {
	for s.Interrupt.Load() == 0 {
		goruntime.Gosched()
	}
	s.Started <- status.ErrInterrupted{Signal: syscall.Signal(s.Interrupt.Load())}
}

func TestALaunchIsEndedByASignalTheTimeOrItsContext(t *testing.T) {
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	for what, c := range map[string]struct {
		signals []os.Signal
		timeout time.Duration
		ctx     context.Context
		want    syscall.Signal // that is told as an error; 0: none
		late    bool
	}{
		"SIGTERM":             {signals: []os.Signal{unix.SIGTERM}, ctx: context.Background(), want: unix.SIGTERM},
		"the first of two":    {signals: []os.Signal{unix.SIGINT, unix.SIGTERM}, ctx: context.Background(), want: unix.SIGINT},
		"after others":        {signals: []os.Signal{unix.SIGWINCH, unix.SIGUSR1, unix.SIGCONT, unix.SIGHUP}, ctx: context.Background(), want: unix.SIGHUP},
		"the time":            {timeout: time.Millisecond, ctx: context.Background(), late: true},
		"a context that ends": {ctx: cancelled, want: unix.SIGKILL},
	} {
		s := newSupervisor(&plan.Plan{Timeout: c.timeout})
		signals := make(chan os.Signal, len(c.signals))
		for _, signal := range c.signals {
			signals <- signal
		}
		s.signals = signals
		go takesSteps(s)
		ended, how, err := s.awaitStart(c.ctx)
		var interrupted status.ErrInterrupted
		if got := errors.As(err, &interrupted); got != (c.want != 0) || interrupted.Signal != c.want || ended != c.late || how.TimedOut != c.late {
			t.Errorf("%s: %v, %+v, %v", what, ended, how, err)
		}
	}
}

func TestHowALaunchHasEndedIsTold(t *testing.T) {
	failure := errors.New("mount: no")
	interrupted := status.ErrInterrupted{Signal: unix.SIGTERM}
	late := status.Status{End: status.End{TimedOut: true}}
	for _, c := range []struct {
		how   status.Status
		err   error
		ended bool
		want  error
	}{
		{status.Status{}, nil, false, nil},
		{late, nil, false, nil}, // it runs, past its time
		{late, interrupted, true, nil},
		{late, failure, false, failure},
		{status.Status{}, interrupted, false, interrupted},
	} {
		ended, how, err := newSupervisor(&plan.Plan{}).startResult(false, c.how, c.err)
		if ended != c.ended || err != c.want || err == nil && how != c.how {
			t.Errorf("%+v, %v: %v, %+v, %v", c.how, c.err, ended, how, err)
		}
	}
	// PID 1 was told to end, and the command with it.
	for _, c := range []struct {
		how  status.Status
		want error
		exit int
	}{{late, nil, status.ExitTimeout}, {status.Status{}, interrupted, 0}} {
		s := newSupervisor(&plan.Plan{})
		s.Process = started(t, "echo ready; exec sleep 1000")
		_ = s.Process.Signal(unix.SIGKILL)
		s.Interrupt.Store(int32(unix.SIGTERM))
		if ended, how, err := s.startResult(true, c.how, nil); !ended || err != c.want || how.ExitCode() != c.exit {
			t.Errorf("%v, %+v, %v", ended, how, err)
		}
	}
}

// attended looks after a command until it has ended, and returns its wait status.
func attended(t *testing.T, s *supervisor, ctx context.Context, kill <-chan struct{}) (syscall.WaitStatus, *signals) {
	t.Helper()
	a := &signals{supervisor: s, kill: kill, ended: make(chan struct{}), done: make(chan struct{})}
	go a.attend(ctx)
	ws, err := s.Process.Wait()
	if err != nil {
		t.Fatal(err)
	}
	close(a.ended)
	<-a.done
	return ws, a
}

func TestACommandWhoseTimeIsOverIsToldAndThenKilled(t *testing.T) {
	over := make(chan time.Time, 1)
	for script, want := range map[string]string{
		`trap "exit 7" TERM; echo ready; while :; do sleep 0.01; done`: "exit status 7",
		`trap "" TERM; echo ready; exec sleep 1000`:                    "signal: killed",
	} {
		s := newSupervisor(&plan.Plan{KillAfter: time.Millisecond})
		if strings.Contains(want, "7") {
			s.Plan.KillAfter = time.Hour
		}
		s.Process, s.limit = started(t, script), over
		over <- time.Time{}
		ws, a := attended(t, s, context.Background(), nil)
		got := "signal: killed"
		if ws.Exited() {
			got = "exit status " + string(rune('0'+ws.ExitStatus()))
		}
		if got != want || !a.timedOut {
			t.Errorf("%s: %s, timed out %v", script, got, a.timedOut)
		}
	}
}

func TestSignalsReachTheCommand(t *testing.T) {
	for signal, want := range map[syscall.Signal]int{unix.SIGUSR1: 11, unix.SIGTERM: 12, unix.SIGINT: 13, unix.SIGQUIT: 14, unix.SIGHUP: 15} {
		s := newSupervisor(&plan.Plan{})
		s.Process = started(t, `trap "exit 11" USR1; trap "exit 12" TERM; trap "exit 13" INT; trap "exit 14" QUIT; trap "exit 15" HUP; echo ready; while :; do sleep 0.01; done`)
		signals := make(chan os.Signal, 2)
		signals <- unix.SIGWINCH // there is no terminal that would have another size
		signals <- signal
		s.signals = signals
		if ws, a := attended(t, s, context.Background(), nil); ws.ExitStatus() != want || a.timedOut {
			t.Errorf("%v: wait status %#x", signal, uint32(ws))
		}
	}
}

func TestACommandIsKilledWithItsContextAndByTheEscape(t *testing.T) {
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	typed := make(chan struct{}, 1)
	typed <- struct{}{}
	for what, c := range map[string]struct {
		ctx  context.Context
		kill <-chan struct{}
	}{"context": {cancelled, nil}, "escape": {context.Background(), typed}} {
		s := newSupervisor(&plan.Plan{})
		s.Process = started(t, `trap "" TERM INT HUP; echo ready; exec sleep 1000`)
		if ws, a := attended(t, s, c.ctx, c.kill); ws.Signal() != unix.SIGKILL || a.timedOut {
			t.Errorf("%s: wait status %#x", what, uint32(ws))
		}
	}
}

// A served is a service and how it is called.
type served struct {
	*service
	t    *testing.T
	name string
}

// serving begins to answer at a socket of the test's own.
func serving(t *testing.T, v *supervisor) served {
	t.Helper()
	t.Chdir(t.TempDir()) // since the address of a socket is short
	listener, err := control.Listen("socket")
	if err != nil {
		t.Fatal(err)
	}
	s := &service{supervisor: v, listener: listener, asking: map[*control.Conn]bool{}, over: make(chan struct{})}
	v.service = s
	s.working.Go(s.accept)
	return served{s, t, "socket"}
}

// call connects, and asks for something unless that is nil.
func (s served) call(request any, files ...int) *control.Conn {
	s.t.Helper()
	c, err := control.Dial(s.name, time.Minute, func() bool { return true })
	if err == nil && request != nil {
		err = c.Send(request, files...)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// reply is the next answer.
func (s served) reply(c *control.Conn) control.Reply {
	s.t.Helper()
	var r control.Reply
	files, err := c.Receive(&r)
	for _, fd := range files {
		unix.Close(fd)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func owned() *plan.Plan {
	return &plan.Plan{Container: "c", Owner: plan.Owner{UID: uint32(os.Getuid())}, Spec: specs.Spec{Process: &specs.Process{Args: []string{"make"}}}}
}

func TestAContainerAnswersWhoAsks(t *testing.T) {
	v := newSupervisor(owned())
	v.Process = started(t, "echo ready; exec sleep 1000")
	s := serving(t, v)
	if r := s.reply(s.call(control.Request{Plan: true})); r.Plan == nil || r.Plan.(map[string]any)["container"] != "c" {
		t.Errorf("the plan: %+v", r)
	}
	if r := s.reply(s.call(control.Request{Network: true})); r.Problem != "has no network of its own" || r.Code != status.ExitFailure {
		t.Errorf("the network: %+v", r)
	}
	for _, signal := range []int{0, -1, 65, 1 << 20} {
		if r := s.reply(s.call(control.Request{Signal: signal})); !strings.Contains(r.Problem, "invalid argument") {
			t.Errorf("signal %d: %+v", signal, r)
		}
	}
	if r := s.reply(s.call(control.Request{Exec: &control.Exec{}})); !strings.Contains(r.Problem, "invalid argument") || r.Code != status.ExitFailure {
		t.Errorf("no command: %+v", r)
	}
	for _, c := range []struct {
		signal syscall.Signal
		parked bool
	}{{unix.SIGSTOP, true}, {unix.SIGCONT, false}, {unix.SIGTSTP, true}, {unix.SIGCONT, false}} {
		if r := s.reply(s.call(control.Request{Signal: int(c.signal), Group: true})); r.Problem != "" || v.jobs.Parked.Load() != c.parked {
			t.Errorf("%v: %+v, parked %v", c.signal, r, v.jobs.Parked.Load())
		}
	}
	if r := s.reply(s.call(control.Request{Signal: int(unix.SIGKILL)})); r.Problem != "" {
		t.Errorf("SIGKILL: %+v", r)
	}
	if ws, err := v.Process.Wait(); err != nil || ws.Signal() != unix.SIGKILL {
		t.Errorf("wait status %#x, %v", uint32(ws), err)
	}
	if err := s.stop(status.Status{}); err != nil {
		t.Error(err)
	}
}

func TestWhoWaitsIsToldTheEndAndWhoSaysNothingIsHungUp(t *testing.T) {
	s := serving(t, newSupervisor(owned()))
	first, second, silent := s.call(control.Request{Wait: true}), s.call(control.Request{Wait: true}), s.call(nil)
	gone := s.call(control.Request{Wait: true})
	gone.Hangup()
	// They are in the list when all but one have said what they want.
	for {
		s.mu.Lock()
		unclear := 0
		for _, u := range s.asking {
			if u {
				unclear++
			}
		}
		done := unclear == 1 && len(s.asking) == 3
		s.mu.Unlock()
		if done {
			break
		}
		goruntime.Gosched()
	}
	how := status.Status{End: status.End{Code: 7}}
	if err := s.stop(how); err != nil {
		t.Error(err)
	}
	for _, c := range []*control.Conn{first, second} {
		if r := s.reply(c); r.Ended == nil || *r.Ended != how.End {
			t.Errorf("%+v", r)
		}
	}
	if _, err := silent.Receive(&control.Reply{}); err == nil {
		t.Error("who has said nothing is answered")
	}
	if c, err := control.Dial(s.name, 0, func() bool { return false }); err == nil {
		c.Close()
		t.Error("somebody answers after the end")
	}
	var none *service
	if err := errors.Join(none.stop(how), new(service).stop(how)); err != nil {
		t.Errorf("what has not listened: %v", err)
	}
}

func TestHowManyAreAnsweredAtATimeIsBounded(t *testing.T) {
	s := &service{asking: map[*control.Conn]bool{}}
	for range maxAsking {
		if !s.admit(new(control.Conn)) {
			t.Fatalf("%d are too many", len(s.asking))
		}
	}
	if s.admit(new(control.Conn)) {
		t.Errorf("%d are asking", len(s.asking))
	}
	for c := range s.asking {
		delete(s.asking, c)
		break
	}
	if !s.admit(new(control.Conn)) {
		t.Error("there is room, and one is refused")
	}
	stopped := &service{asking: map[*control.Conn]bool{}, stopped: true}
	if stopped.admit(new(control.Conn)) {
		t.Error("one is admitted after the end")
	}
}

// joined is a command that has joined, and the line to it.
func joined(t *testing.T, script string) (served, *control.Conn, *nsexec.Process) {
	t.Helper()
	s := serving(t, newSupervisor(owned()))
	s.listener.Close() // the test accepts itself
	s.working.Wait()
	listener, err := control.Listen("other")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	s.name = "other"
	c := s.call(nil)
	end, err := listener.Accept(uint32(os.Getuid()))
	if err != nil {
		t.Fatal(err)
	}
	process := started(t, script)
	s.working.Go(func() {
		s.exec(end, process, nil)
		_ = end.Close()
	})
	if r := s.reply(c); !r.Started {
		t.Fatalf("%+v", r)
	}
	return s, c, process
}

func TestWhoHasJoinedIsToldOfTheBeginningAndTheEnd(t *testing.T) {
	s, c, _ := joined(t, `trap "exit 7" USR1; echo ready; while :; do sleep 0.01; done`)
	if err := c.Send(control.Request{Signal: int(unix.SIGUSR1)}); err != nil {
		t.Fatal(err)
	}
	if r := s.reply(c); r.Ended == nil || *r.Ended != (status.End{Code: 7}) {
		t.Errorf("%+v", r)
	}
	s.working.Wait()
}

func TestACommandThatHasJoinedEndsWithItsCaller(t *testing.T) {
	s, c, process := joined(t, `trap "" TERM INT HUP; echo ready; exec sleep 1000`)
	c.Hangup()
	s.working.Wait() // until it has been waited for
	if !process.Reaped() {
		t.Error("it runs on")
	}
}

func TestASignalThatIsNoneEndsTheLineAndTheCommand(t *testing.T) {
	s, c, process := joined(t, `trap "" TERM; echo ready; exec sleep 1000`)
	if err := c.Send(control.Request{Signal: 99}); err != nil {
		t.Fatal(err)
	}
	s.working.Wait()
	if !process.Reaped() {
		t.Error("it runs on")
	}
}
