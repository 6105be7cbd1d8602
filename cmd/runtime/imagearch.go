package main

import (
	"errors"
	"fmt"

	"mayfly/personality/arch"
	"mayfly/runtime/image"
	"mayfly/runtime/programs"
)

// noEmulator is told of images whose programs nothing runs here.
const noEmulator = "none"

// emulatorFor finds the program that runs those of an architecture, by Debian's name;
// empty for the kernel, and for what is not known.
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

// machineOf tells an image's architecture, and who runs its programs if that is not the
// kernel.
func machineOf(d image.Description) string {
	switch d.Emulator {
	case "":
		return d.Arch
	case noEmulator:
		return d.Arch + " (no emulator)"
	}
	return fmt.Sprintf("%s (by %s)", d.Arch, programs.By(d.Emulator))
}

// checkArch refuses to make an image whose programs this machine cannot run, as it
// would have to. Of an architecture that is not known the bootstrap program knows more.
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
