package job

import (
	"bufio"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// roleVariable is set for a copy of the test's program that is looked at by the test.
const roleVariable = "MAYFLY_TEST_ROLE"

func TestMain(m *testing.M) {
	role := os.Getenv(roleVariable)
	switch role {
	case "":
		os.Exit(m.Run())
	case "ignores":
		signal.Ignore(unix.SIGTSTP)
	case "handles":
		signal.Notify(make(chan os.Signal, 1), unix.SIGTSTP)
	case "default":
	}
	os.Stdout.WriteString("ready\n")
	_, _ = os.Stdin.Read(make([]byte, 1)) // until the test has ended
}

// started starts a copy of the test's program that does something with SIGTSTP.
func started(t *testing.T, role string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	_, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return cmd
}

// await waits until a child has stopped, or goes on.
func await(t *testing.T, pid, options int) {
	t.Helper()
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &ws, options, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || options == unix.WUNTRACED && !ws.Stopped() || options == unix.WCONTINUED && !ws.Continued() {
			t.Fatalf("wait status %#x, %v", uint32(ws), err)
		}
		return
	}
}

func TestAProcessIsStoppedUntilItGoesOn(t *testing.T) {
	child := started(t, "default").Process
	if IsStopped(child.Pid) {
		t.Error("stopped from the beginning")
	}
	if err := child.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	await(t, child.Pid, unix.WUNTRACED)
	if !IsStopped(child.Pid) {
		t.Error("not stopped by SIGSTOP")
	}
	if err := child.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	await(t, child.Pid, unix.WCONTINUED)
	if IsStopped(child.Pid) {
		t.Error("stopped after SIGCONT")
	}
	if IsStopped(0) || IsStopped(-1) || IsStopped(1<<30) {
		t.Error("what is no process is stopped")
	}
}

func TestOnlyWhoDoesNothingAboutTheKeyIsStoppedByIt(t *testing.T) {
	for role, want := range map[string]bool{"default": true, "ignores": false, "handles": false} {
		if got := stopsByDefault(started(t, role).Process.Pid); got != want {
			t.Errorf("a process that %s: %v", role, got)
		}
	}
	if stopsByDefault(1 << 30) {
		t.Error("what is no process stops")
	}
}

// What a shell ignores, its commands ignore, too (execve(2)).
func TestAChildOfAnIgnoringShellIgnores(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(sh, "-c", `trap "" TSTP; exec sh -c 'echo ready; read x <`+fifo+`'`)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if line, err := bufio.NewReader(out).ReadString('\n'); strings.TrimSpace(line) != "ready" {
		t.Fatalf("%q, %v", line, err)
	}
	if stopsByDefault(cmd.Process.Pid) {
		t.Error("it stops")
	}
}

func TestWhatNeedNotBeKnownTwiceIsNotWaitedFor(t *testing.T) {
	c := New()
	for range 3 {
		Offer(c.Stops, struct{}{})
	}
	Offer(c.Keys, 1)
	Offer(c.Keys, 2)
	if len(c.Stops) != 1 || len(c.Keys) != 1 || <-c.Keys != 1 {
		t.Errorf("%d stops, %d keys", len(c.Stops), len(c.Keys))
	}
	Offer(c.Keys, 3)
	if len(c.Keys) != 1 || <-c.Keys != 3 {
		t.Error("the next one is lost")
	}
	Offer(make(chan int), 1) // nobody listens
	Offer[int](nil, 1)
}
