package main

import (
	"syscall"
	"unsafe"

	"mayfly/runtime/rootless"
)

// bootstrap tells package rootless what beforeGo (entry.go) did. It closes the ends of
// the pipes that are the mappers'.
func bootstrap() rootless.Bootstrap {
	n := &namespace
	b := rootless.Bootstrap{Tried: n.tried, UID: n.uid, GID: n.gid}
	b.Block = unsafe.Slice((*byte)(unsafe.Pointer(&argumentBlock)), unsafe.Sizeof(argumentBlock))
	if n.result < 0 {
		b.Err = syscall.Errno(-n.result)
	}
	for _, m := range n.mappers {
		if m.pipe[1] == 0 { // descriptor 0 is the reading end at the least
			continue
		}
		b.Opened = append(b.Opened, int(m.pipe[0]), int(m.pipe[1]))
		_ = syscall.Close(int(m.pipe[0]))
		if m.pid == 0 {
			_ = syscall.Close(int(m.pipe[1]))
			continue
		}
		b.Mappers = append(b.Mappers, rootless.Mapper{PID: int(m.pid), Line: int(m.pipe[1])})
	}
	return b
}
