// Package compile turns the profile into classic BPF. It runs
// when the project is built and in tests, never in a launch.
//
// A program is one decision tree an ABI: system-call numbers fall into ranges
// of one action each, and a balanced tree of comparisons finds the range. So a
// call costs about eight instructions, whatever its number; and for numbers whose
// action hangs on no argument the kernel (5.11 and later) remembers the answer
// and runs no instruction at all.
package compile

import (
	"fmt"
	"maps"
	"slices"
	"sort"

	"github.com/elastic/go-seccomp-bpf/arch"
)

// Instruction is struct sock_filter of linux/filter.h.
type Instruction struct {
	Code                uint16
	JumpTrue, JumpFalse uint8
	K                   uint32
}

// Opcodes and return values of linux/bpf_common.h and linux/seccomp.h.
const (
	load     = 0x20 // A = *(u32 *)(seccomp_data + k)
	jump     = 0x05
	jumpEq   = 0x15
	jumpGe   = 0x35
	jumpSet  = 0x45
	giveBack = 0x06

	allow        = 0x7fff0000
	refuse       = 0x00050000 | 1  // SECCOMP_RET_ERRNO | EPERM
	missing      = 0x00050000 | 38 // SECCOMP_RET_ERRNO | ENOSYS
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16

	x32Bit = 0x40000000
)

// Machine numbers that the kernel puts into seccomp_data, of linux/audit.h.
const (
	AuditX86   = 0x40000003
	AuditAMD64 = 0xc000003e
	AuditARM   = 0x40000028
	AuditARM64 = 0xc00000b7
)

// abi is one system-call convention that a kernel of some architecture accepts.
type abi struct {
	audit uint32
	table map[int]string
}

// abis lists the conventions by GOARCH. x32 shares the audit number of amd64 and
// is told by a bit of the system-call number: all of it is past the table's end,
// thus unknown, thus ENOSYS.
var abis = map[string][]abi{
	"amd64": {{AuditAMD64, arch.X86_64.SyscallNumbers}, {AuditX86, arch.I386.SyscallNumbers}},
	"arm64": {{AuditARM64, arch.AARCH64.SyscallNumbers}, {AuditARM, arch.ARM.SyscallNumbers}},
}

// A Variant is what a program refuses besides the profile.
type Variant struct {
	Name     string // of the variable that holds the program
	Isolated bool   // the container has a network of its own
	// Multiplexed: socketcall(2) is allowed all the same, since the image's programs
	// have no other way to a socket.
	Multiplexed bool
	// Nested: user namespaces may be made, and all that their root may do there.
	Nested bool
}

// Variants are all of them.
var Variants = []Variant{
	{Name: "Filter"},
	{Name: "Isolated", Isolated: true},
	{Name: "IsolatedMultiplexed", Isolated: true, Multiplexed: true},
	{Name: "Nested", Nested: true},
	{Name: "NestedIsolated", Isolated: true, Nested: true},
	{Name: "NestedIsolatedMultiplexed", Isolated: true, Multiplexed: true, Nested: true},
}

// Program compiles the profile for a GOARCH. A call by a convention that the
// list does not have answers ENOSYS.
func Program(goarch string, v Variant) ([]Instruction, error) {
	list, ok := abis[goarch]
	if !ok {
		return nil, fmt.Errorf("no system-call tables for %s", goarch)
	}
	program := []Instruction{{Code: load, K: offsetArch}}
	for _, one := range list {
		tree := search(v.ranges(one.table))
		program = append(program,
			Instruction{Code: jumpEq, K: one.audit, JumpTrue: 1},
			Instruction{Code: jump, K: uint32(len(tree) + 1)},
			Instruction{Code: load, K: offsetNumber})
		program = append(program, tree...)
	}
	return append(program, Instruction{Code: giveBack, K: missing}), nil
}

// span is the range of numbers from first up to the next span's first.
type span struct {
	first  uint32
	action []Instruction // ends in a return
}

func (v Variant) ranges(table map[int]string) []span {
	numbers := slices.Sorted(maps.Keys(table))
	spans := []span{}
	next := 0
	for _, n := range numbers {
		if n > next {
			spans = extend(spans, next, answer(missing))
		}
		spans = extend(spans, n, v.action(table[n]))
		next = n + 1
	}
	return extend(spans, next, answer(missing))
}

func extend(spans []span, first int, action []Instruction) []span {
	if len(spans) > 0 && slices.Equal(spans[len(spans)-1].action, action) {
		return spans
	}
	return append(spans, span{uint32(first), action})
}

func (v Variant) action(name string) []Instruction {
	if v.Isolated && name == "socket" {
		return refuseValues(valued{0, isolatedFamilies})
	}
	if v.Isolated && !v.Multiplexed && name == "socketcall" {
		return answer(missing)
	}
	if v.Nested && (slices.Contains(nestedCalls, name) || slices.Contains(namespaceCalls, name)) {
		return answer(allow)
	}
	if slices.Contains(refusedCalls, name) {
		return answer(refuse)
	}
	if slices.Contains(missingCalls, name) {
		return answer(missing)
	}
	if m, ok := refusedBits[name]; ok {
		return []Instruction{argument(m.Argument), {Code: jumpSet, K: m.Bits, JumpTrue: 1}, answer(allow)[0], answer(refuse)[0]}
	}
	if v, ok := refusedValues[name]; ok {
		return refuseValues(v)
	}
	return answer(allow)
}

func refuseValues(v valued) []Instruction {
	code := []Instruction{argument(v.Argument)}
	for i, value := range v.Values {
		code = append(code, Instruction{Code: jumpEq, K: value, JumpTrue: uint8(len(v.Values) - i)})
	}
	return append(code, answer(allow)[0], answer(refuse)[0])
}

// argument loads the lower half of a system call's argument. Both architectures
// are little-endian.
func argument(n int) Instruction { return Instruction{Code: load, K: uint32(offsetArgs + 8*n)} }

func answer(k uint32) []Instruction { return []Instruction{{Code: giveBack, K: k}} }

// search builds the decision tree: halves the spans by a comparison until one is
// left. A jump over more than 255 instructions takes the long form.
func search(spans []span) []Instruction {
	if len(spans) == 1 {
		return spans[0].action
	}
	half := len(spans) / 2
	low, high := search(spans[:half]), search(spans[half:])
	var code []Instruction
	if len(low) <= 255 {
		code = []Instruction{{Code: jumpGe, K: spans[half].first, JumpTrue: uint8(len(low))}}
	} else {
		code = []Instruction{
			{Code: jumpGe, K: spans[half].first, JumpTrue: 0, JumpFalse: 1},
			{Code: jump, K: uint32(len(low))},
		}
	}
	return append(append(code, low...), high...)
}

// Names lists every system call that some table knows, sorted.
func Names() []string {
	seen := map[string]bool{}
	for _, list := range abis {
		for _, one := range list {
			for _, name := range one.table {
				seen[name] = true
			}
		}
	}
	names := slices.Collect(maps.Keys(seen))
	sort.Strings(names)
	return names
}
