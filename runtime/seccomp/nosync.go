package seccomp

import "golang.org/x/sys/unix"

// syncs are the system calls that wait until files are on the disk, by architecture:
// fsync, fdatasync, sync, syncfs, sync_file_range (sync_file_range2 on ARM). msync(2) is
// not among them: it also invalidates.
var syncs = []struct {
	arch    uint32
	numbers [5]uint32
}{
	{unix.AUDIT_ARCH_X86_64, [...]uint32{74, 75, 162, 306, 277}},
	{unix.AUDIT_ARCH_I386, [...]uint32{118, 148, 36, 344, 314}},
	{unix.AUDIT_ARCH_AARCH64, [...]uint32{82, 83, 81, 267, 84}},
	{unix.AUDIT_ARCH_ARM, [...]uint32{118, 148, 36, 373, 341}},
}

// WithoutSync returns a filter that answers these calls with success and does not make
// them; otherwise it answers as the filter that it is given.
func WithoutSync(filter []unix.SockFilter) []unix.SockFilter {
	const (
		loadWord = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal    = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		give     = unix.BPF_RET | unix.BPF_K

		number, arch = 0, 4 // offsets in struct seccomp_data
	)
	var program []unix.SockFilter
	for _, s := range syncs {
		n := uint8(len(s.numbers))
		program = append(program, unix.SockFilter{Code: loadWord, K: arch},
			unix.SockFilter{Code: equal, K: s.arch, Jf: n + 2}, unix.SockFilter{Code: loadWord, K: number})
		for i, call := range s.numbers {
			last := uint8(i) == n-1
			in := unix.SockFilter{Code: equal, K: call, Jt: n - 1 - uint8(i)}
			if last {
				in.Jf = 1
			}
			program = append(program, in)
		}
		program = append(program, unix.SockFilter{Code: give, K: unix.SECCOMP_RET_ERRNO}) // errno 0
	}
	return append(program, filter...)
}
