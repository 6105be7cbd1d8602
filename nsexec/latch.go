package nsexec

import (
	"math"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Latch lets a thread wait for another one without the Go scheduler: the thread
// sleeps in the kernel, which wakes it at once. (A goroutine that waits for a channel
// on a locked thread is woken by way of up to two others.) Its zero value is closed.
type Latch struct{ opened uint32 }

// Operations of futex(2), with FUTEX_PRIVATE_FLAG.
const futexWait, futexWake = 0 | 128, 1 | 128

// Open lets everybody through who waits, now and later. Any thread may call it, more
// than once.
func (l *Latch) Open() {
	atomic.StoreUint32(&l.opened, 1)
	_, _, _ = unix.RawSyscall(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&l.opened)), futexWake, math.MaxInt32)
}

// Wait waits until the latch is open. Any thread may call it; it is meant for a thread
// that is locked.
func (l *Latch) Wait() {
	for atomic.LoadUint32(&l.opened) == 0 {
		_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&l.opened)), futexWait, 0, 0, 0, 0)
	}
}
