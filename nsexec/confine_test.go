package nsexec

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

func TestAConfinedProgramGainsNothing(t *testing.T) {
	for range 20 { // on whatever threads there are
		c := Confinement{Limits: []string{"--cpu=60", "--as=1073741824"}}
		out, err := OutputConfined(exec.Command("/bin/cat", "/proc/self/status", "/proc/self/limits"), c, 1<<16)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"\nNoNewPrivs:\t1\n", "\nMax cpu time              60 ", "\nMax address space         1073741824 "} {
			if !strings.Contains(string(out), want) {
				t.Errorf("no %q in %s", want, out)
			}
		}
	}
	// This process is as it was, its main thread too.
	out, err := exec.Command("/bin/cat", "/proc/self/status").Output()
	if err != nil || !strings.Contains(string(out), "\nNoNewPrivs:\t0\n") {
		t.Errorf("a program that is not confined: %s, %v", out, err)
	}
}

func TestWhatAConfinedProgramSaysIsBounded(t *testing.T) {
	if out, err := OutputConfined(exec.Command("/bin/echo", "12345"), Confinement{}, 6); err != nil || string(out) != "12345\n" {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := OutputConfined(exec.Command("/bin/echo", "123456"), Confinement{}, 6); !errors.Is(err, ErrTooMuchOutput) {
		t.Errorf("%q, %v", out, err)
	}
	var failed *exec.ExitError
	if _, err := OutputConfined(exec.Command("/bin/sh", "-c", "echo no >&2; exit 3"), Confinement{}, 6); !errors.As(err, &failed) || string(failed.Stderr) != "no\n" {
		t.Errorf("%v", err)
	}
	if _, err := OutputConfined(exec.Command("/nosuch"), Confinement{}, 6); err == nil {
		t.Error("what is not there was started")
	}
}
