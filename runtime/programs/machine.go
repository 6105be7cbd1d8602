// Package programs knows which programs this machine runs, and why one could not be
// executed: the kernel's emulators (binfmt_misc), interpreters and dynamic loaders.
//
// Doctor, survey and package main ask it about the host. The launch's thread asks it
// inside the container, with the command's own rights; it waits for no file system
// there.
package programs

import (
	"fmt"

	"golang.org/x/sys/unix"

	"mayfly/personality/arch"
	"mayfly/runtime/status"
)

// CheckMachine returns a status.CommandError if the beginning of a program tells that
// it is for a machine whose programs this one does not run.
func CheckMachine(name string, beginning []byte) error {
	arch, err := arch.OfProgram(beginning)
	host, unknown := HostArchitecture()
	if err != nil || unknown != nil || arch.RunsOn(host) {
		return nil
	}
	return &status.CommandError{Command: name, Reason: "a program for " + arch.Debian + ", which this machine does not run: `runtime doctor` tells what does", Code: status.ExitNotExecutable}
}

// HostArchitecture returns the architecture of the machine, whatever the caller's
// personality is.
func HostArchitecture() (arch.Architecture, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return arch.Architecture{}, fmt.Errorf("uname: %w", err)
	}
	machine := unix.ByteSliceToString(name.Machine[:])
	if machine == "i686" { // by the caller's personality
		machine = "x86_64"
	}
	return arch.ByName(machine)
}
