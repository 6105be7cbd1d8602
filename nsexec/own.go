package nsexec

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ArgumentBlock writes into a block of memory what execve(2) takes: where in it the path, the arguments and the empty environment
// are, one pointer each, then the rest. The first argument is the path. A copy of the process in which the block has the same
// address can hand that to the kernel. It returns the part that was used; E2BIG where there is too little room.
func ArgumentBlock(block []byte, args []string) ([]byte, error) {
	const (
		word = 8
		argv = 3 // after the pointers to path, arguments and environment
	)
	envp := argv + len(args) + 1
	size := word * (envp + 1)
	for _, s := range args {
		size += len(s) + 1
	}
	if size > len(block) {
		return nil, unix.E2BIG
	}
	clear(block[:size])
	base := uintptr(unsafe.Pointer(&block[0]))
	put := func(i, offset int) { binary.NativeEndian.PutUint64(block[word*i:], uint64(base)+uint64(offset)) }
	next := word * (envp + 1)
	put(0, next)
	put(1, word*argv)
	put(2, word*envp)
	for i, s := range args {
		put(argv+i, next)
		next += copy(block[next:], s) + 1
	}
	return block[:size], nil
}
