package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// untilParentEnds returns a context that is done when the parent process has ended. The
// kernel's PR_SET_PDEATHSIG will not do: it fires when the parent's forking thread
// ends, a change of ids or capabilities clears it, and it could end this process before
// the container is removed.
func untilParentEnds() (context.Context, error) {
	pid := os.Getppid()
	fd, err := unix.PidfdOpen(pid, 0)
	if err == nil && os.Getppid() != pid {
		unix.Close(fd)
		err = unix.ESRCH
	}
	if err != nil { // pid is 0 if the parent is in an outer PID namespace
		return nil, fmt.Errorf("--die-with-parent: open the parent (process %d): %w", pid, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		awaitEnd(fd)
		cancel()
	}()
	return ctx, nil
}

// awaitEnd waits until the process behind a pidfd ends. If poll(2) fails (EINTR,
// ENOMEM), it tries again.
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
