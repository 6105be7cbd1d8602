package seccomp

import (
	"testing"

	"golang.org/x/sys/unix"
)

// evaluate runs the prefix of a program on a call. It returns the answer, or how many
// instructions of the filter behind it were reached.
func evaluate(t *testing.T, program []unix.SockFilter, arch, number uint32) (answer uint32, at int) {
	t.Helper()
	var a uint32
	for i := 0; ; i++ {
		in := program[i]
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = map[uint32]uint32{0: number, 4: arch}[in.K]
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			if a == in.K {
				i += int(in.Jt)
			} else {
				i += int(in.Jf)
			}
		case unix.BPF_RET | unix.BPF_K:
			return in.K, i
		default:
			t.Fatalf("instruction %d: %+v", i, in)
		}
	}
}

func TestWithoutSync(t *testing.T) {
	mark := uint32(unix.SECCOMP_RET_KILL_THREAD | 7)
	program := WithoutSync([]unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: mark}})
	for _, s := range syncs {
		swallowed := map[uint32]bool{}
		for _, n := range s.numbers {
			swallowed[n] = true
		}
		for n := range uint32(600) {
			got, _ := evaluate(t, program, s.arch, n)
			if want := map[bool]uint32{true: unix.SECCOMP_RET_ERRNO, false: mark}[swallowed[n]]; got != want {
				t.Errorf("%#x, call %d: %#x, want %#x", s.arch, n, got, want)
			}
		}
		if got, _ := evaluate(t, program, s.arch, 0x40000000|s.numbers[0]); got != mark { // x32
			t.Errorf("%#x: %#x", s.arch, got)
		}
	}
	if got, _ := evaluate(t, program, unix.AUDIT_ARCH_S390X, 118); got != mark {
		t.Errorf("another architecture: %#x", got)
	}
	if len(WithoutSync(Nested)) > unix.BPF_MAXINSNS || len(WithoutSync(NestedIsolated)) <= len(NestedIsolated) {
		t.Error("the program's length")
	}
}
