package nsexec

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

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
