package given_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"mayfly/runtime/internal/given"
)

// What package os has the Go runtime open is not among it.
func TestWhatTheGoRuntimeOpensIsNotGiven(t *testing.T) {
	if os.Getenv("GIVEN") != "" {
		if !slices.Contains(given.Descriptors, 3) || given.Err != nil {
			t.Errorf("%v, %v; 3 is given", given.Descriptors, given.Err)
		}
		now, err := given.List()
		watched := slices.ContainsFunc(now, isPoll)
		if before := slices.ContainsFunc(given.Descriptors, isPoll); err != nil || !watched || before {
			t.Errorf("of %v there are given %v, %v", now, given.Descriptors, err)
		}
		return
	}
	var pipe [2]int
	if err := syscall.Pipe2(pipe[:], syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	r, w := os.NewFile(uintptr(pipe[0]), ""), os.NewFile(uintptr(pipe[1]), "")
	defer r.Close()
	defer w.Close()
	if err := syscall.SetNonblock(pipe[0], true); err != nil {
		t.Fatal(err)
	}
	again := exec.Command("/proc/self/exe", "-test.run", t.Name())
	again.Env = append(os.Environ(), "GIVEN=1", "GODEBUG=updatemaxprocs=0") // as in the program
	again.Stdin = r
	again.ExtraFiles = []*os.File{w}
	if out, err := again.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func isPoll(fd int) bool {
	link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	return err == nil && strings.Contains(link, "eventpoll")
}

func TestDescriptorsAreAllThatAreOpen(t *testing.T) {
	var pipe [2]int
	if err := syscall.Pipe2(pipe[:], syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	fds, err := given.List()
	if err != nil || !slices.Contains(fds, pipe[0]) || !slices.Contains(fds, pipe[1]) || !slices.IsSorted(fds) || fds[0] < 3 {
		t.Errorf("%v, %v; want %v among them", fds, err, pipe)
	}
	syscall.Close(pipe[1])
	if fds, err = given.List(); err != nil || slices.Contains(fds, pipe[1]) {
		t.Errorf("%v, %v; %d is closed", fds, err, pipe[1])
	}
	syscall.Close(pipe[0])
}

func BenchmarkList(b *testing.B) {
	for b.Loop() {
		_, _ = given.List()
	}
}
