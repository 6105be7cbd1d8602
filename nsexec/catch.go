package nsexec

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// caughtBy is the descriptor of the pipe to which the handler of CatchSignals writes;
// it is set before there is a handler.
var caughtBy int32

var _ = &caughtBy // its reader is assembly

// CatchSignals has signals of the process written to a pipe: each one's number, in one
// byte. It returns the pipe's reading end, which the caller owns, and which the Go
// runtime watches. When the pipe is full, signals are lost.
//
// The handler is a few lines of assembly (catch_*.s), which take the place of the Go
// runtime's handler. Package os/signal would start two threads, and wake each of them
// for every signal that it is asked for: a tenth of a launch.
//
// It is called once, from any thread, and needs no capability. Programs that the
// process executes have the signals' default actions.
func CatchSignals(signals []os.Signal) (*os.File, error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, fmt.Errorf("pipe for signals: %w", err)
	}
	caughtBy = int32(pipe[1])
	const onStack, restart, restorer = 0x08000000, 0x10000000, 0x04000000 // SA_*
	handler, restore := catchFunctions()
	action := [4]uintptr{handler, onStack | restart | restorer, restore, ^uintptr(0)}
	for _, s := range signals {
		number := uintptr(s.(syscall.Signal))
		if err := raw4(unix.SYS_RT_SIGACTION, number, uintptr(unsafe.Pointer(&action)), 0, 8); err != nil {
			return nil, fmt.Errorf("handler for signal %d: %w", number, err)
		}
	}
	return os.NewFile(uintptr(pipe[0]), "signals"), nil
}

// catchFunctions returns the addresses of the handler, and of the function to which it
// returns.
func catchFunctions() (handler, restorer uintptr)
