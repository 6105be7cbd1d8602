package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"mayfly/runtime/status"
)

// stdout is standard output. Commands print to it and need not check each error: main
// prints the first one, and then exits with the status of a failure.
var stdout = &printer{to: os.Stdout}

// A printer writes until a write fails. If a pipe has no reader any more, the Go
// runtime ends the process with SIGPIPE, as is usual.
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

// failed prints the error, and returns the exit status for it. If SIGPIPE is ignored
// and the pipe has no reader any more, it prints nothing: with SIGPIPE nothing would be
// printed either.
func (p *printer) failed(code int) int {
	var path *os.PathError
	switch {
	case p.err == nil:
		return code
	case errors.Is(p.err, syscall.EPIPE):
		return status.End{Signal: syscall.SIGPIPE}.ExitCode()
	case errors.As(p.err, &path):
		p.err = path.Err // without Go's name of the file, /dev/stdout
	}
	return fail(fmt.Errorf("write standard output: %w", p.err))
}
