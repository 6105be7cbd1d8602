// Package arch knows the machines that programs are built for: their names, how a
// program for one begins, and which runs which. It is pure.
package arch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
	"strings"
)

// Execution domains of linux/personality.h.
const (
	Linux   = 0x0000
	Linux32 = 0x0008 // uname(2) tells of a 32-bit machine
)

// An Architecture is a kind of machine that programs are built for.
type Architecture struct {
	Name    string // systemd's and nspawn's name: x86, x86-64, arm, arm64, riscv64
	Debian  string // Debian's name: i386, amd64, armhf, arm64, riscv64
	Go      string // Go's and OCI's name: 386, amd64, arm, arm64, riscv64
	Machine string // what uname -m says
	Domain  uint32
	Loader  string // path of the dynamic loader, as the architecture's ABI has it
	Triplet string // GNU's name, as in Debian's library directories
	elf     uint16 // e_machine of the ELF header
	family  string // architectures of one family run on the same CPU
}

// architectures are those that are known. Nothing writes to it.
var architectures = []Architecture{
	{"x86", "i386", "386", "i686", Linux32, "/lib/ld-linux.so.2", "i386-linux-gnu", 3, "x86"},
	{"x86-64", "amd64", "amd64", "x86_64", Linux, "/lib64/ld-linux-x86-64.so.2", "x86_64-linux-gnu", 62, "x86"},
	{"arm", "armhf", "arm", "armv8l", Linux32, "/lib/ld-linux-armhf.so.3", "arm-linux-gnueabihf", 40, "arm"},
	{"arm64", "arm64", "arm64", "aarch64", Linux, "/lib/ld-linux-aarch64.so.1", "aarch64-linux-gnu", 183, "arm"},
	{"riscv64", "riscv64", "riscv64", "riscv64", Linux, "/lib/ld-linux-riscv64-lp64d.so.1", "riscv64-linux-gnu", 243, "riscv"},
}

// ErrUnknown means that a name or an ELF header is of no architecture that is known.
var ErrUnknown = errors.New("unknown architecture")

// ByName finds an architecture by its Name, its Debian name or its Machine. The error
// is ErrUnknown.
func ByName(name string) (Architecture, error) {
	for _, a := range architectures {
		if name == a.Name || name == a.Debian || name == a.Machine {
			return a, nil
		}
	}
	return Architecture{}, fmt.Errorf("%w %q, want one of %s", ErrUnknown, name, strings.Join(Names(), ", "))
}

// Names lists the Name of every architecture that is known, sorted.
func Names() []string {
	names := make([]string, 0, len(architectures))
	for _, a := range architectures {
		names = append(names, a.Name)
	}
	sort.Strings(names)
	return names
}

// HeaderSize is how much of the beginning of an ELF file OfProgram reads, in bytes.
const HeaderSize = 20

// OfProgram tells the architecture of a program by the beginning of its file. The error
// is ErrUnknown for an ELF file of another architecture.
func OfProgram(header []byte) (Architecture, error) {
	if len(header) < HeaderSize || string(header[:4]) != "\x7fELF" {
		return Architecture{}, errors.New("not an ELF file")
	}
	var order binary.ByteOrder = binary.LittleEndian
	if header[5] == 2 { // EI_DATA, ELFDATA2MSB
		order = binary.BigEndian
	}
	machine := order.Uint16(header[18:])
	for _, a := range architectures {
		if a.elf == machine {
			return a, nil
		}
	}
	return Architecture{}, fmt.Errorf("%w: ELF machine %d", ErrUnknown, machine)
}

// Header is the beginning of the ELF file of a program for the architecture.
func (a Architecture) Header() (h [HeaderSize]byte) {
	copy(h[:], "\x7fELF\x02\x01\x01") // 64 bits, little-endian, version 1
	if a.Domain == Linux32 {
		h[4] = 1
	}
	h[16] = 2 // ET_EXEC
	binary.LittleEndian.PutUint16(h[18:], a.elf)
	return h
}

// RunsOn tells whether a processor of the architecture host runs programs for a without
// an emulator.
func (a Architecture) RunsOn(host Architecture) bool {
	return a.family == host.family && (a == host || a.Domain == Linux32)
}
