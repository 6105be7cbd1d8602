package main

import (
	"syscall"

	"mayfly/runtime/rootless"
)

// namespace is what the entry point (entry_*.s) did before the Go runtime started, as long as the process had a single
// thread: for whoever has no capability and wants to run something, it made a user namespace of their own and a copy of the mounts in it, and left
// two copies of the process outside. Each executes what it is told by a pipe: newuidmap(1) and newgidmap(1).
//
// The entry point knows the layout.
var namespace struct {
	tried    uint64
	result   int64 // of unshare(2), or of what went wrong before
	uid, gid uint64
	mappers  [2]struct {
		pipe [2]int32
		pid  int64
	}
}

// argumentBlock is what the pipes carry. It has the same address in the copies.
var argumentBlock [4096]byte

// birth tells package runtime.
func birth() rootless.Bootstrap {
	n := &namespace
	b := rootless.Bootstrap{Tried: n.tried != 0, UID: uint32(n.uid), GID: uint32(n.gid), Block: argumentBlock[:]}
	if n.result != 0 {
		b.Err = syscall.Errno(-n.result)
	}
	for _, m := range n.mappers {
		if m.pid != 0 {
			b.Mappers = append(b.Mappers, rootless.Mapper{PID: int(m.pid), Line: int(m.pipe[1])})
			b.Opened = append(b.Opened, int(m.pipe[0]), int(m.pipe[1]))
			_ = syscall.Close(int(m.pipe[0]))
		}
	}
	return b
}
