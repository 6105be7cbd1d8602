package nsexec

import _ "unsafe" // for go:linkname

// The Go runtime's own bracket around fork(2): signals are blocked before, handlers are
// cleared in the child, so that no Go code runs there by way of a signal.

//go:linkname runtimeBeforeFork syscall.runtime_BeforeFork
func runtimeBeforeFork()

//go:linkname runtimeAfterFork syscall.runtime_AfterFork
func runtimeAfterFork()

//go:linkname runtimeAfterForkInChild syscall.runtime_AfterForkInChild
func runtimeAfterForkInChild()
