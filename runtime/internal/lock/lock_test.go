package lock

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func open(t *testing.T, name string, flags int) int {
	t.Helper()
	fd, err := unix.Open(name, flags|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func TestMarks(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	one, two, look := open(t, name, unix.O_RDWR|unix.O_CREAT), open(t, name, unix.O_RDWR), open(t, name, unix.O_RDONLY)
	step := func(what string, got bool, err error, want bool) {
		t.Helper()
		if err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", what, got, err, want)
		}
	}
	marked := func(what string, want bool) {
		t.Helper()
		got, err := Marked(look)
		step(what, got, err, want)
	}
	marked("nobody", false)
	got, err := MarkShared(one)
	step("shared", got, err, true)
	marked("shared by one", true)
	got, err = MarkShared(two)
	step("shared by a second", got, err, true)
	got, err = Mark(two)
	step("alone beside another", got, err, false)
	unix.Close(one)
	got, err = Mark(two)
	step("alone", got, err, true)
	got, err = MarkShared(look)
	step("shared beside one alone", got, err, false)
	marked("alone", true)
	unix.Close(two)
	marked("closed", false)
	got, err = Mark(look)
	if err == nil || got {
		t.Error("a file that cannot be written to is marked alone")
	}
}

// A turn that is not given up is waited for within the bound.
func TestATurnIsWaitedForWithinABound(t *testing.T) {
	dir := t.TempDir()
	first, second := open(t, dir, unix.O_RDONLY|unix.O_DIRECTORY), open(t, dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err := Turn(first); err != nil {
		t.Fatal(err)
	}
	if taken, err := TryTurn(second); err != nil || taken {
		t.Errorf("%v, %v", taken, err)
	}
	err := turnWithinBound(second, unix.LOCK_EX, 20*time.Millisecond)
	var busy *Busy
	if !errors.As(err, &busy) || busy.Waited != 20*time.Millisecond {
		t.Errorf("%v", err)
	}
	go func() {
		time.Sleep(20 * time.Millisecond)
		Done(first)
	}()
	if err := Turn(second); err != nil {
		t.Errorf("after the first is done: %v", err)
	}
}

func TestHoldersAreFound(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command("flock", dir, "sh", "-c", "echo held; exec sleep 60")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	fd := open(t, dir, unix.O_RDONLY|unix.O_DIRECTORY)
	other := open(t, t.TempDir(), unix.O_RDONLY|unix.O_DIRECTORY)
	if list := Holders(other); len(list) != 0 {
		t.Errorf("of another directory: %v", list)
	}
	found := false
	for _, h := range Holders(fd) {
		found = found || h.PID == cmd.Process.Pid && h.UID == uint32(os.Getuid())
	}
	text := (&Busy{time.Second, Holders(fd)}).Error()
	if !found || !strings.Contains(text, "process ") || !strings.Contains(text, "SIGCONT") {
		t.Errorf("%v; %s", Holders(fd), text)
	}
	var busy *Busy
	if !errors.As(error(&Busy{}), &busy) || strings.Contains((&Busy{}).Error(), "process") {
		t.Error("a holder of nothing")
	}
}
