package seccomp

import (
	goruntime "runtime"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// variants are all programs, by name. What they answer is tested where they are
// compiled.
var variants = map[string][]unix.SockFilter{
	"Filter": Filter, "Isolated": Isolated, "IsolatedMultiplexed": IsolatedMultiplexed,
	"Nested": Nested, "NestedIsolated": NestedIsolated, "NestedIsolatedMultiplexed": NestedIsolatedMultiplexed,
}

// classes of instructions, linux/bpf_common.h
const (
	class  = 0x07
	load   = 0x20 // BPF_LD | BPF_W | BPF_ABS
	jump   = 0x05
	always = 0x05 // BPF_JMP | BPF_JA
	answer = 0x06 // BPF_RET | BPF_K
)

// seccompData is struct seccomp_data, in bytes.
const seccompData = 64

func TestEveryPathOfAFilterEndsInAnAnswer(t *testing.T) {
	answers := []uint32{unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM), unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS), unix.SECCOMP_RET_KILL_PROCESS}
	for name, program := range variants {
		if n := len(program); n == 0 || n > unix.BPF_MAXINSNS {
			t.Errorf("%s has %d instructions", name, n)
			continue
		}
		if last := program[len(program)-1]; last.Code != answer {
			t.Errorf("%s does not end in an answer: %+v", name, last)
		}
		for i, in := range program {
			switch {
			case in.Code == answer && !slices.Contains(answers, in.K):
				t.Errorf("%s, %d: answer %#x", name, i, in.K)
			case in.Code == always && uint64(i)+1+uint64(in.K) >= uint64(len(program)):
				t.Errorf("%s, %d: jumps beyond the end", name, i)
			case in.Code&class == jump && in.Code != always && i+1+int(max(in.Jt, in.Jf)) >= len(program):
				t.Errorf("%s, %d: jumps beyond the end", name, i)
			case in.Code == load && (in.K%4 != 0 || in.K >= seccompData):
				t.Errorf("%s, %d: loads from %d", name, i, in.K)
			}
		}
	}
}

func TestNoTwoFiltersAreTheSame(t *testing.T) {
	for a, one := range variants {
		for b, other := range variants {
			// Programs of 32-bit x86, the only ones that have socketcall(2), run on
			// amd64 alone.
			multiplexed := a == b+"Multiplexed" || b == a+"Multiplexed"
			if a != b && slices.Equal(one, other) && !(multiplexed && goruntime.GOARCH != "amd64") {
				t.Errorf("%s and %s", a, b)
			}
		}
	}
}

// The kernel checks a program as it takes it.
func TestTheKernelTakesEachFilter(t *testing.T) {
	for name, program := range variants {
		result := make(chan error)
		go func() {
			goruntime.LockOSThread() // and never unlocked: the thread ends with the filter
			if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
				result <- err
				return
			}
			filter := unix.SockFprog{Len: uint16(len(program)), Filter: unsafe.SliceData(program)}
			_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&filter)))
			if errno != 0 {
				result <- errno
				return
			}
			if err := unix.Unshare(unix.CLONE_NEWTIME); name[:1] != "N" && err != unix.EPERM {
				t.Errorf("%s: unshare is not refused: %v", name, err)
			}
			if _, _, errno := unix.RawSyscall(unix.SYS_IO_URING_SETUP, 0, 0, 0); errno != unix.ENOSYS {
				t.Errorf("%s: io_uring_setup: %v", name, errno)
			}
			result <- nil
		}()
		if err := <-result; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
