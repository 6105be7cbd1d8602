package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// untilParentEnds is a context that is done when the process's parent has ended, in
// whatever way. The kernel's own means, PR_SET_PDEATHSIG, asks for the thread that has
// forked, is taken back by a change of ids or capabilities, and could end us before the
// container is gone.
func untilParentEnds() (context.Context, error) {
	pid := os.Getppid()
	fd, err := unix.PidfdOpen(pid, 0)
	if err == nil && os.Getppid() != pid {
		unix.Close(fd)
		err = unix.ESRCH
	}
	if err != nil { // 0: it is in a PID namespace outside of ours
		return nil, fmt.Errorf("--die-with-parent: open the parent (process %d): %w", pid, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		awaitEnd(fd)
		cancel()
	}()
	return ctx, nil
}

// awaitEnd waits for the end of a process, of which there is a pidfd. An interruption
// is none, nor is a want of memory.
func awaitEnd(pidfd int) {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, -1)
		if n > 0 {
			return
		}
		if err != unix.EINTR {
			time.Sleep(time.Second)
		}
	}
}
