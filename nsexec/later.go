package nsexec

import (
	"fmt"
	"math"
	"unsafe"

	"golang.org/x/sys/unix"
)

// later keeps what the children of WriteLater use reachable until the process ends.
var later []any

var laterName = [...]byte{'m', 'a', 'y', 'f', 'l', 'y', '-', 'l', 'a', 't', 'e', 'r', 0}

// WriteLater has a child of the process write a message to a descriptor, by one write(2),
// and does not wait for it: the process may end before. It is for a request to the
// kernel that takes long, and whose answer nobody needs. The descriptor stays the
// caller's.
//
// As a Keeper does, the child shares the memory of the process and walks a program. It
// has the capabilities of the calling thread, which must be locked, no descriptor but
// this one, and blocks all signals. Whoever has started the process can kill or stop the
// child: then the message may never be written. Linux 5.9 is needed (close_range(2)).
func WriteLater(fd int, message []byte) error {
	steps := newProgram(6)
	fail := steps.last(unix.SYS_EXIT, number(1))
	if fd > 0 {
		steps.add(fail, unix.SYS_CLOSE_RANGE, &zero, number(fd-1), &zero)
	}
	steps.add(fail, unix.SYS_CLOSE_RANGE, number(fd+1), number(math.MaxUint32), &zero)
	steps.add(nil, unix.SYS_PRCTL, number(unix.PR_SET_NAME), address(unsafe.Pointer(&laterName)))
	steps.add(fail, unix.SYS_WRITE, number(fd), address(unsafe.Pointer(&message[0])), number(len(message)))
	steps.add(nil, unix.SYS_EXIT, &zero)
	later = append(later, steps, message)
	if pid, err := steps.start(&cloneArgs{flags: unix.CLONE_VM, exitSignal: uint64(unix.SIGCHLD)}); pid == 0 {
		return fmt.Errorf("clone: %w", err)
	}
	return nil
}
