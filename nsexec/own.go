package nsexec

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ArgumentBlock writes into a block of memory what execve(2) takes: where in it the path, the arguments and the empty environment
// are, one pointer each, then the rest. A copy of the process in which the block has the same address can hand that to the
// kernel. It returns the part that was used; E2BIG where there is too little room.
func ArgumentBlock(block []byte, path string, args []string) ([]byte, error) {
	const word = 8
	base := uint64(uintptr(unsafe.Pointer(&block[0])))
	next := word * (3 + len(args) + 1 + 1) // three pointers, the arguments and their end, the environment's end
	put := func(i int, v uint64) { binary.NativeEndian.PutUint64(block[word*i:], v) }
	text := func(s string) (uint64, bool) {
		at := next
		if next += len(s) + 1; next > len(block) {
			return 0, false
		}
		copy(block[at:], s)
		block[at+len(s)] = 0
		return base + uint64(at), true
	}
	if next > len(block) {
		return nil, unix.E2BIG
	}
	argv, envp := 3, 3+len(args)+1
	put(1, base+uint64(word*argv))
	put(2, base+uint64(word*envp))
	put(argv+len(args), 0)
	put(envp, 0)
	for i, s := range append([]string{path}, args...) {
		at, fits := text(s)
		if !fits {
			return nil, unix.E2BIG
		}
		if i == 0 {
			put(0, at)
		} else {
			put(argv+i-1, at)
		}
	}
	return block[:next], nil
}
