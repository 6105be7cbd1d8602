package nsexec

import (
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDescriptorsAreAllThatAreOpen(t *testing.T) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	fds, err := Descriptors()
	if err != nil || !slices.Contains(fds, pipe[0]) || !slices.Contains(fds, pipe[1]) || !slices.IsSorted(fds) || fds[0] < 3 {
		t.Errorf("%v, %v; want %v among them", fds, err, pipe)
	}
	unix.Close(pipe[1])
	if fds, err = Descriptors(); err != nil || slices.Contains(fds, pipe[1]) {
		t.Errorf("%v, %v; %d is closed", fds, err, pipe[1])
	}
	unix.Close(pipe[0])
}

func TestAKeeperKeepsUntilItIsReleased(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	kept, err := unix.Dup(int(write.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	keeper, err := Keep([]int{kept})
	if err != nil {
		t.Fatal(err)
	}
	write.Close()
	unix.Close(kept)
	hungUp := func() bool {
		fds := []unix.PollFd{{Fd: int32(read.Fd())}}
		_, err := unix.Poll(fds, 0)
		return err == nil && fds[0].Revents&unix.POLLHUP != 0
	}
	if hungUp() {
		t.Error("nobody keeps it")
	}
	keeper.Release()
	if !hungUp() {
		t.Error("somebody keeps it still")
	}
}

func BenchmarkDescriptors(b *testing.B) {
	for b.Loop() {
		_, _ = Descriptors()
	}
}

func BenchmarkKeep(b *testing.B) {
	for b.Loop() {
		fd, _ := unix.Dup(0)
		k, err := Keep([]int{fd})
		if err != nil {
			b.Fatal(err)
		}
		unix.Close(fd)
		k.Release()
	}
}
