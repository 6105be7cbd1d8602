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
// the background have these pipes instead, so that the runner does not wait for them.
type outputPipes []*outputPipe

// An outputPipe is in the place of a descriptor, or of both.
type outputPipe struct {
	replaced []int
	to, read *os.File
	copying  sync.WaitGroup
	failed   error // of what reads the output: it has gone, mostly
}

// openOutputPipes puts pipes in the place of descriptors 1 and 2, one for both if they
// are the same file: what is written there keeps its order.
func openOutputPipes() (pipes outputPipes, err error) {
	groups := [][]int{{1}, {2}}
	var out, errs unix.Stat_t
	if unix.Fstat(1, &out) == nil && unix.Fstat(2, &errs) == nil && out.Dev == errs.Dev && out.Ino == errs.Ino {
		groups = [][]int{{1, 2}}
	}
	for _, group := range groups {
		p, err := newOutputPipe(group)
		if err != nil {
			return nil, errors.Join(err, pipes.close())
		}
		pipes = append(pipes, p)
	}
	return pipes, nil
}

func newOutputPipe(replaced []int) (*outputPipe, error) {
	kept, err := unix.FcntlInt(uintptr(replaced[0]), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		unix.Close(kept)
		return nil, err
	}
	_ = unix.SetNonblock(ends[0], true)
	p := &outputPipe{replaced: replaced, to: os.NewFile(uintptr(kept), "output"), read: os.NewFile(uintptr(ends[0]), "pipe")}
	for _, fd := range replaced {
		err = errors.Join(err, unix.Dup3(ends[1], fd, 0))
	}
	unix.Close(ends[1])
	p.copying.Go(func() {
		if _, err := io.Copy(p.to, p.read); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			p.failed = err
			_ = p.read.Close() // the command is to get EPIPE
		}
	})
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// close passes on what has been written until now, and puts the descriptors back.
func (pipes outputPipes) close() error {
	var errs []error
	for _, p := range pipes {
		errs = append(errs, p.close())
	}
	return errors.Join(errs...)
}

func (p *outputPipe) close() error {
	var err error
	for _, fd := range p.replaced {
		err = errors.Join(err, unix.Dup3(int(p.to.Fd()), fd, 0))
	}
	_ = p.read.SetReadDeadline(time.Now()) // which fails if it is closed
	p.copying.Wait()
	if p.failed == nil {
		p.failed = p.drain()
		_ = p.read.Close()
	}
	_ = p.to.Close()
	if errors.Is(p.failed, unix.EPIPE) {
		return err // nobody wants the output
	}
	return errors.Join(err, p.failed)
}

// drain copies what is in the pipe now. What others write meanwhile stays.
func (p *outputPipe) drain() error {
	raw, err := p.read.SyscallConn()
	if err != nil {
		return err
	}
	var data []byte
	err = raw.Control(func(fd uintptr) {
		size, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		if err != nil || size <= 0 {
			return
		}
		data = make([]byte, size)
		n, err := unix.Read(int(fd), data)
		data = data[:max(n, 0)]
		if err != nil {
			data = nil
		}
	})
	if len(data) > 0 {
		_, failed := p.to.Write(data)
		err = errors.Join(err, failed)
	}
	return err
}
