package compile

import (
	"encoding/binary"
	"runtime"
	"slices"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"mayfly/runtime/seccomp"
)

// run executes a program on one system call with an independent BPF machine.
// That machine reads big-endian, as sockets do, and seccomp host-endian: the
// words of the input are turned round.
func run(t *testing.T, goarch string, audit, number uint32, args ...uint32) uint32 {
	t.Helper()
	return runVariant(t, Variants[0], goarch, audit, number, args...)
}

func runVariant(t *testing.T, v Variant, goarch string, audit, number uint32, args ...uint32) uint32 {
	t.Helper()
	program, err := Program(goarch, v)
	if err != nil {
		t.Fatal(err)
	}
	raw := make([]bpf.RawInstruction, len(program))
	for i, in := range program {
		raw[i] = bpf.RawInstruction{Op: in.Code, Jt: in.JumpTrue, Jf: in.JumpFalse, K: in.K}
	}
	code, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("the program has an instruction that does not exist")
	}
	machine, err := bpf.NewVM(code)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[offsetNumber:], number)
	binary.BigEndian.PutUint32(data[offsetArch:], audit)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[offsetArgs+8*i:], a)
	}
	verdict, err := machine.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(verdict)
}

func TestEveryNumberOfEveryABIGetsTheProfilesAnswer(t *testing.T) {
	for _, c := range []struct {
		goarch string
		audit  uint32
		table  map[int]string
	}{
		{"amd64", AuditAMD64, arch.X86_64.SyscallNumbers},
		{"amd64", AuditX86, arch.I386.SyscallNumbers},
		{"arm64", AuditARM64, arch.AARCH64.SyscallNumbers},
		{"arm64", AuditARM, arch.ARM.SyscallNumbers},
	} {
		for number := range 600 {
			name, known := c.table[number]
			want := uint32(allow)
			switch {
			case !known || slices.Contains(missingCalls, name):
				want = missing
			case slices.Contains(refusedCalls, name):
				want = refuse
			}
			if got := run(t, c.goarch, c.audit, uint32(number)); got != want {
				t.Errorf("%s %#x call %d (%s): %#x, want %#x", c.goarch, c.audit, number, name, got, want)
			}
		}
	}
}

func TestArgumentsDecideWhereTheProfileSaysSo(t *testing.T) {
	number := func(table map[string]int, name string) uint32 { return uint32(table[name]) }
	for _, c := range []struct {
		what          string
		audit, number uint32
		args          []uint32
		want          uint32
	}{
		{"fork", AuditAMD64, number(arch.X86_64.SyscallNames, "clone"), []uint32{17}, allow},
		{"thread", AuditAMD64, number(arch.X86_64.SyscallNames, "clone"), []uint32{0x3d0f00}, allow},
		{"user namespace by clone", AuditAMD64, number(arch.X86_64.SyscallNames, "clone"), []uint32{0x10000011}, refuse},
		{"user namespace by clone, 32-bit", AuditX86, number(arch.I386.SyscallNames, "clone"), []uint32{0x10000011}, refuse},
		{"user namespace by unshare", AuditAMD64, number(arch.X86_64.SyscallNames, "unshare"), []uint32{0x10000000}, refuse},
		{"unshare files", AuditAMD64, number(arch.X86_64.SyscallNames, "unshare"), []uint32{0x400}, allow},
		{"TIOCGWINSZ", AuditAMD64, number(arch.X86_64.SyscallNames, "ioctl"), []uint32{0, 0x5413}, allow},
		{"TIOCSTI", AuditAMD64, number(arch.X86_64.SyscallNames, "ioctl"), []uint32{0, 0x5412}, refuse},
		{"TIOCLINUX, 32-bit", AuditX86, number(arch.I386.SyscallNames, "ioctl"), []uint32{0, 0x541c}, refuse},
		{"x32 read", AuditAMD64, x32Bit, nil, missing},
		{"x32 mount", AuditAMD64, x32Bit | 165, nil, missing},
		{"number -1", AuditAMD64, 0xffffffff, nil, missing},
		{"foreign machine", 0x15, 3, nil, missing},
	} {
		if got := run(t, "amd64", c.audit, c.number, c.args...); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.what, got, c.want)
		}
	}
}

func TestProfileNamesExist(t *testing.T) {
	known := Names()
	for _, name := range slices.Concat(refusedCalls, missingCalls) {
		if !slices.Contains(known, name) {
			t.Errorf("the profile names %s, which no table has", name)
		}
	}
}

// A network of its own has no AF_VSOCK, by whatever convention; everything else is as
// in the profile.
func TestIsolatedRefusesWhatHasNoNetwork(t *testing.T) {
	const inet, vsock, socketcall = 2, 40, 102
	for _, c := range []struct {
		audit, number  uint32
		args           []uint32
		filter, closed uint32
		multiplexed    uint32
	}{
		{AuditAMD64, uint32(arch.X86_64.SyscallNames["socket"]), []uint32{vsock, 1}, allow, refuse, refuse},
		{AuditAMD64, uint32(arch.X86_64.SyscallNames["socket"]), []uint32{inet, 1}, allow, allow, allow},
		{AuditX86, uint32(arch.I386.SyscallNames["socket"]), []uint32{vsock, 1}, allow, refuse, refuse},
		{AuditX86, socketcall, []uint32{1}, allow, missing, allow},
		{AuditAMD64, uint32(arch.X86_64.SyscallNames["mount"]), nil, refuse, refuse, refuse},
		{AuditAMD64, uint32(arch.X86_64.SyscallNames["read"]), nil, allow, allow, allow},
		{AuditAMD64, x32Bit | 41, []uint32{vsock, 1}, missing, missing, missing},
	} {
		for i, want := range []uint32{c.filter, c.closed, c.multiplexed} {
			if got := runVariant(t, Variants[i], "amd64", c.audit, c.number, c.args...); got != want {
				t.Errorf("%s %#x call %d %v: %#x, want %#x", Variants[i].Name, c.audit, c.number, c.args, got, want)
			}
		}
	}
	if got := runVariant(t, Variants[1], "arm64", AuditARM64, uint32(arch.AARCH64.SyscallNames["socket"]), vsock); got != refuse {
		t.Errorf("arm64: %#x", got)
	}
}

// What nested namespaces take is allowed, and nothing else changes.
func TestNestedAllowsNamespacesOnly(t *testing.T) {
	allowed := slices.Concat(nestedCalls, namespaceCalls)
	for i, v := range Variants[3:] {
		plain := Variants[i]
		if v.Isolated != plain.Isolated || v.Multiplexed != plain.Multiplexed || plain.Nested || !v.Nested {
			t.Fatalf("%+v is no variant of %+v", v, plain)
		}
		for _, c := range []struct {
			audit uint32
			table map[int]string
		}{{AuditAMD64, arch.X86_64.SyscallNumbers}, {AuditX86, arch.I386.SyscallNumbers}} {
			for number := range uint32(600) {
				for _, args := range [][]uint32{nil, {0x10000011, 0x5412}, {40, 0x50009401}} {
					want := runVariant(t, plain, "amd64", c.audit, number, args...)
					if slices.Contains(allowed, c.table[int(number)]) {
						want = allow
					}
					if got := runVariant(t, v, "amd64", c.audit, number, args...); got != want {
						t.Errorf("%s %#x call %d (%s) %#x: %#x, want %#x", v.Name, c.audit, number, c.table[int(number)], args, got, want)
					}
				}
			}
		}
	}
	for _, name := range []string{"setns", "keyctl", "bpf", "open_by_handle_at"} {
		if slices.Contains(allowed, name) || !slices.Contains(refusedCalls, name) {
			t.Errorf("%s is allowed", name)
		}
	}
}

func TestGeneratedFilterIsCurrent(t *testing.T) {
	for i, generated := range [][]unix.SockFilter{seccomp.Filter, seccomp.Isolated, seccomp.IsolatedMultiplexed,
		seccomp.Nested, seccomp.NestedIsolated, seccomp.NestedIsolatedMultiplexed} {
		program, err := Program(runtime.GOARCH, Variants[i])
		if err != nil {
			t.Fatal(err)
		}
		same := slices.EqualFunc(program, generated, func(a Instruction, b unix.SockFilter) bool {
			return a.Code == b.Code && a.JumpTrue == b.Jt && a.JumpFalse == b.Jf && a.K == b.K
		})
		if !same {
			t.Errorf("%s in zfilter_%s.go is not what the profile compiles to: run go generate ./...", Variants[i].Name, runtime.GOARCH)
		}
	}
}
