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

// Binfmt is where the kernel lists the programs that run others (binfmt_misc).
const Binfmt = "/proc/sys/fs/binfmt_misc"

// ErrNoEmulator means that this machine does not run programs for an architecture.
var ErrNoEmulator = errors.New("this machine does not run")

// InstallQemu is the command that installs emulators on Debian.
const InstallQemu = "apt-get install qemu-user-static"

// Emulator returns the program that runs programs for an architecture; "": the kernel
// itself runs them, or it cannot be known. The error wraps ErrNoEmulator if none runs
// them in a container.
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

// EmulatorsUnknown tells that an architecture needs an emulator and the kernel does not
// tell whether there is one.
func EmulatorsUnknown(arch arch.Architecture) bool {
	_, told := Registrations(Binfmt)
	host, err := HostArchitecture()
	return !told && err == nil && (!arch.RunsOn(host) || arch.Debian == "i386" && !runsI386())
}

// runsI386 tells whether the kernel of an amd64 machine runs i386 programs: this
// setting exists only with IA32 emulation.
func runsI386() bool {
	_, err := os.Stat("/proc/sys/abi/vsyscall32")
	return err == nil
}

// A registration is an entry of binfmt_misc: a program that the kernel executes for
// files that begin in a certain way.
type registration struct {
	interpreter string
	// fixed: the kernel has opened the interpreter at the registration (flag F), so it
	// need not exist in a container.
	fixed       bool
	offset      int
	magic, mask []byte
}

// Registrations returns the enabled entries in the directory of binfmt_misc. told is
// false if the kernel does not list them here.
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

// parseRegistration reads an entry that is recognised by the beginning of a file. ok is
// false for others, and for disabled ones.
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

// runs tells whether the entry is for a program that begins so.
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

// By returns an emulator's name for people. Debian's qemu is
// /usr/libexec/qemu-binfmt/aarch64-binfmt-P, for instance.
func By(interpreter string) string {
	if strings.Contains(interpreter, "qemu") {
		return "qemu"
	}
	return filepath.Base(interpreter)
}
