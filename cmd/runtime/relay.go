package main

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A relay stands between a command and the standard output and error of this process. A
// runner reads these until everybody has closed them; processes that a job has left in
// the background have the relay's pipes instead, so that the runner does not wait for
// them.
type relay struct {
	pipes []*os.File // to read
	fds   []int      // theirs
	to    []*os.File
	done  sync.WaitGroup
}

// openRelay puts pipes in the place of descriptors 1 and 2, one for both if they are the
// same file: what is written there keeps its order.
func openRelay() (*relay, error) {
	r := &relay{}
	one := sameOutput()
	for fd := 1; fd <= 2; fd++ {
		if fd == 2 && one {
			if err := unix.Dup3(1, 2, 0); err != nil {
				return r, err
			}
			break
		}
		kept, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return r, err
		}
		var ends [2]int
		if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
			return r, err
		}
		err = errors.Join(unix.SetNonblock(ends[0], true), unix.Dup3(ends[1], fd, 0), unix.Close(ends[1]))
		if err != nil {
			return r, err
		}
		read, to := os.NewFile(uintptr(ends[0]), "pipe"), os.NewFile(uintptr(kept), "output")
		r.fds = append(r.fds, ends[0])
		r.pipes, r.to = append(r.pipes, read), append(r.to, to)
		r.done.Go(func() { _, _ = to.ReadFrom(read) })
	}
	return r, nil
}

func sameOutput() bool {
	var out, errs unix.Stat_t
	return unix.Fstat(1, &out) == nil && unix.Fstat(2, &errs) == nil && out.Dev == errs.Dev && out.Ino == errs.Ino
}

// close passes on what has been written until now, and puts descriptors 1 and 2 back.
func (r *relay) close() error {
	var errs []error
	for i, to := range r.to {
		errs = append(errs, unix.Dup3(int(to.Fd()), i+1, 0))
	}
	if len(r.to) == 1 {
		errs = append(errs, unix.Dup3(1, 2, 0))
	}
	for _, pipe := range r.pipes {
		errs = append(errs, pipe.SetReadDeadline(time.Now()))
	}
	r.done.Wait()
	for i, pipe := range r.pipes {
		errs = append(errs, drain(r.fds[i], r.to[i]), pipe.Close())
	}
	return errors.Join(errs...)
}

// drain copies what is in a pipe, and does not wait for more.
func drain(pipe int, to *os.File) error {
	buffer := make([]byte, 1<<16)
	for {
		n, err := unix.Read(pipe, buffer)
		if n <= 0 || err != nil {
			return nil // EAGAIN, or nobody has it any more
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return err
		}
	}
}
