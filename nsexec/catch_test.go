package nsexec

import (
	"bytes"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// It takes place in a process of its own, whose handlers are not those of the test
// program.
func TestCaughtSignalsAreRead(t *testing.T) {
	const role = "MAYFLY_TEST_ROLE"
	if os.Getenv(role) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), role+"=catches signals")
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("PASS")) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	pipe, err := CatchSignals([]os.Signal{syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGXFSZ})
	if err != nil {
		t.Fatal(err)
	}
	var got [1]byte
	for range 1000 {
		for _, s := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGTERM, syscall.SIGXFSZ} {
			if err := unix.Kill(os.Getpid(), s); err != nil {
				t.Fatal(err)
			}
			if _, err := pipe.Read(got[:]); err != nil || syscall.Signal(got[0]) != s {
				t.Fatalf("signal %d, %v, want %d", got[0], err, s)
			}
		}
	}
	// A pipe that nobody reads takes no more, and nothing waits for that.
	for range 100_000 {
		if err := unix.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("/bin/sh", "-c", "kill -USR1 $$; echo survives").CombinedOutput(); err == nil || bytes.Contains(out, []byte("survives")) {
		t.Errorf("a program that is executed ignores the signal: %v, %s", err, out)
	}
}
