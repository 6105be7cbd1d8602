package nsexec

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ArgumentBlock encodes the arguments of an execve(2) into a block of memory: three
// pointers into the block, to the path, to the arguments and to the environment, which
// is empty; then what they point to. The path is args[0]. A process in which a block
// lies at the same address, such as a fork, can take a copy of the result into it and
// hand the pointers to the kernel.
//
// It returns the part of the block that it used, and E2BIG where that would not fit.
// It does nothing but write to the block: any thread may call it.
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
