package main

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// outputPipes stand between a command and the standard output and error of this process. A
// runner reads these until everybody has closed them; processes that a job has left in
// the background have these pipes instead, so that the runner does not wait for
// them.
type outputPipes struct {
	pipes []*os.File // to read
	to    []*os.File
	done  sync.WaitGroup
}

// openOutputPipes puts pipes in the place of descriptors 1 and 2, one for both if they are the
// same file: what is written there keeps its order.
func openOutputPipes() (r *outputPipes, err error) {
	r = &outputPipes{}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
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
		r.pipes, r.to = append(r.pipes, read), append(r.to, to)
		r.done.Go(func() {
			if _, err := io.Copy(to, read); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				_ = read.Close() // nobody reads: the command is to get EPIPE
			}
		})
	}
	return r, nil
}

func sameOutput() bool {
	var out, errs unix.Stat_t
	return unix.Fstat(1, &out) == nil && unix.Fstat(2, &errs) == nil && out.Dev == errs.Dev && out.Ino == errs.Ino
}

// close passes on what has been written until now, and puts descriptors 1 and 2 back.
func (r *outputPipes) close() error {
	var errs []error
	for i, to := range r.to {
		errs = append(errs, unix.Dup3(int(to.Fd()), i+1, 0))
	}
	if len(r.to) == 1 {
		errs = append(errs, unix.Dup3(1, 2, 0))
	}
	for _, pipe := range r.pipes {
		_ = pipe.SetReadDeadline(time.Now()) // closed, if nobody reads
	}
	r.done.Wait()
	for i, pipe := range r.pipes {
		if err := drain(pipe, r.to[i]); !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err, pipe.Close())
		}
	}
	return errors.Join(errs...)
}

// drain copies what is in a pipe, and does not wait for more.
func drain(pipe, to *os.File) error {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return err
	}
	buffer := make([]byte, 1<<16)
	var failed error
	err = raw.Control(func(fd uintptr) {
		for failed == nil {
			n, err := unix.Read(int(fd), buffer)
			if n <= 0 || err != nil {
				return // EAGAIN, or nobody has it any more
			}
			_, failed = to.Write(buffer[:n])
		}
	})
	return errors.Join(err, failed)
}
