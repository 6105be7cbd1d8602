// Package programs knows which programs this machine runs, and why one could not be executed: the
// kernel's emulators (binfmt_misc), interpreters and dynamic loaders. Doctor, survey and package main
// ask it for the host; the launch's thread asks it inside a container, with the command's own rights,
// and it waits for no file system there.
package programs

import (
	"fmt"

	"golang.org/x/sys/unix"

	"mayfly/personality/arch"
	"mayfly/runtime/status"
)

// CheckMachine refuses a program that is for another machine.
func CheckMachine(name string, beginning []byte) error {
	arch, err := arch.OfProgram(beginning)
	host, unknown := HostArchitecture()
	if err != nil || unknown != nil || arch.RunsOn(host) {
		return nil
	}
	return &status.CommandError{Command: name, Reason: "a program for " + arch.Debian + ", which this machine does not run: `runtime doctor` tells what does", Code: status.ExitNotExecutable}
}

func HostArchitecture() (arch.Architecture, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return arch.Architecture{}, fmt.Errorf("uname: %w", err)
	}
	machine := unix.ByteSliceToString(name.Machine[:])
	if machine == "i686" { // the caller's own personality, not the machine's
		machine = "x86_64"
	}
	return arch.ByName(machine)
}
