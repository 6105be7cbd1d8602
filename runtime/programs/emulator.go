package programs

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"mayfly/personality/arch"
	"mayfly/runtime/internal/file"
)

// Binfmt is where the kernel tells which programs run others (binfmt_misc).
const Binfmt = "/proc/sys/fs/binfmt_misc"

// ErrNoEmulator means that this machine does not run programs for an architecture.
var ErrNoEmulator = errors.New("this machine does not run")

const InstallQemu = "apt-get install qemu-user-static"

// Emulator finds which program runs those for an architecture, "" for the kernel
// itself. Where the kernel does not tell, nothing is known of it, which is no error.
func Emulator(arch arch.Architecture) (string, error) {
	list, told := Registrations(Binfmt)
	header := arch.Header()
	for _, r := range list {
		if !r.runs(header[:]) {
			continue
		}
		if !r.fixed {
			return "", fmt.Errorf("%w %s programs in containers: %s is registered without the flag F, and so looked for inside: %s",
				ErrNoEmulator, arch.Debian, r.interpreter, InstallQemu)
		}
		return r.interpreter, nil
	}
	host, err := HostArchitecture()
	if err != nil || !told || arch.RunsOn(host) && (arch.Debian != "i386" || runsI386()) {
		return "", err
	}
	return "", fmt.Errorf("%w %s programs: %s", ErrNoEmulator, arch.Debian, InstallQemu)
}

// EmulatorsUnknown tells that the kernel does not tell who runs programs for an
// architecture that is another than its own.
func EmulatorsUnknown(arch arch.Architecture) bool {
	_, told := Registrations(Binfmt)
	host, err := HostArchitecture()
	return !told && err == nil && (!arch.RunsOn(host) || arch.Debian == "i386" && !runsI386())
}

// runsI386 tells whether the kernel of an amd64 machine runs i386 programs: this is a
// setting that only one with IA32 emulation has.
func runsI386() bool {
	_, err := os.Stat("/proc/sys/abi/vsyscall32")
	return err == nil
}

// A registration is a program that the kernel has run others, known by how they begin.
type registration struct {
	interpreter string
	fixed       bool // it was opened when it was registered, and need not be in the container
	offset      int
	magic, mask []byte
}

// Registrations are those in a directory that are in effect. told is false if the
// kernel tells none here, whether there are any or not.
func Registrations(directory string) (list []registration, told bool) {
	status, err := file.Read(filepath.Join(directory, "status"), 64)
	if err != nil {
		return nil, false
	}
	names, err := os.ReadDir(directory)
	if err != nil || strings.TrimSpace(string(status)) != "enabled" {
		return nil, err == nil
	}
	for _, name := range names {
		text, err := file.Read(filepath.Join(directory, name.Name()), 4096)
		if err != nil {
			continue
		}
		if r, ok := parseRegistration(string(text)); ok {
			list = append(list, r)
		}
	}
	return list, true
}

// parseRegistration reads what the kernel tells of one that goes by the beginning of a
// file.
func parseRegistration(text string) (r registration, ok bool) {
	enabled := false
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		var err error
		switch key {
		case "enabled":
			enabled = true
		case "interpreter":
			r.interpreter = value
		case "flags:":
			r.fixed = strings.Contains(value, "F")
		case "offset":
			_, err = fmt.Sscan(value, &r.offset)
		case "magic":
			r.magic, err = hex.DecodeString(value)
		case "mask":
			r.mask, err = hex.DecodeString(value)
		}
		if err != nil {
			return r, false
		}
	}
	return r, enabled && r.interpreter != "" && r.offset >= 0 && len(r.magic) > 0 && (r.mask == nil || len(r.mask) == len(r.magic))
}

// runs tells whether a program that begins so is run by it.
func (r registration) runs(header []byte) bool {
	if r.offset > len(header) || len(r.magic) > len(header)-r.offset {
		return false
	}
	begin := bytes.Clone(header[r.offset : r.offset+len(r.magic)])
	want := bytes.Clone(r.magic)
	for i := range r.mask {
		begin[i] &= r.mask[i]
		want[i] &= r.mask[i]
	}
	return bytes.Equal(begin, want)
}

// By names an emulator for people. Debian's qemu is
// /usr/libexec/qemu-binfmt/aarch64-binfmt-P, for instance.
func By(interpreter string) string {
	if strings.Contains(interpreter, "qemu") {
		return "qemu"
	}
	return filepath.Base(interpreter)
}
