package main

import (
	"errors"
	"fmt"

	"mayfly/personality/arch"
	"mayfly/runtime/image"
	"mayfly/runtime/programs"
)

// noEmulator is the emulator of images whose programs this machine cannot run.
const noEmulator = "none"

// emulatorFor returns the program that runs the programs of an architecture, which is
// given by Debian's name. It returns "" if the kernel runs them itself, or if the
// architecture is unknown.
func emulatorFor(name string) string {
	arch, err := arch.ByName(name)
	if err != nil {
		return ""
	}
	interpreter, err := programs.Emulator(arch)
	if errors.Is(err, programs.ErrNoEmulator) {
		return noEmulator
	}
	return interpreter
}

// machineOf returns an image's architecture, and the emulator if one runs its programs.
func machineOf(d image.Description) string {
	switch d.Emulator {
	case "":
		return d.Arch
	case noEmulator:
		return d.Arch + " (no emulator)"
	}
	return fmt.Sprintf("%s (by %s)", d.Arch, programs.By(d.Emulator))
}

// checkArch refuses an architecture whose programs this machine cannot run: the
// bootstrap runs programs of the image. It leaves an unknown architecture to the
// bootstrap program.
func checkArch(name string) error {
	arch, err := arch.ByName(name)
	if err != nil {
		return nil
	}
	_, err = programs.Emulator(arch)
	if err == nil && programs.EmulatorsUnknown(arch) {
		warn("it cannot be told whether this machine runs " + arch.Debian + " programs, since binfmt_misc is not mounted " +
			"(mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc): if the bootstrap program fails, apt-get install qemu-user-static")
	}
	return err
}
