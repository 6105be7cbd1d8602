package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"mayfly/runtime/status"
)

// stdout is standard output, for all that commands print. Nobody has to look at the
// error of each line: main tells the first, and the exit status is that of a failure.
var stdout = &printer{to: os.Stdout}

// A printer writes until it cannot. When a pipe's reader has gone, the Go runtime ends
// the process with SIGPIPE, as is usual.
type printer struct {
	to  *os.File
	err error
}

// Write implements io.Writer and never fails.
func (p *printer) Write(data []byte) (int, error) {
	if p.err == nil && len(data) > 0 {
		_, p.err = p.to.Write(data)
	}
	return len(data), nil
}

// failed tells the error, and returns the exit status with it. Where SIGPIPE is
// ignored, a reader that has gone is as little to be told as elsewhere.
func (p *printer) failed(code int) int {
	var path *os.PathError
	switch {
	case p.err == nil:
		return code
	case errors.Is(p.err, syscall.EPIPE):
		return status.End{Signal: syscall.SIGPIPE}.ExitCode()
	case errors.As(p.err, &path):
		p.err = path.Err // the name would be Go's
	}
	return fail(fmt.Errorf("write standard output: %w", p.err))
}
