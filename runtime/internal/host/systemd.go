// Package host knows what runs the machine.
package host

import "os"

// UnitDirectory is where an administrator's units of systemd are.
const UnitDirectory = "/etc/systemd/system"

// Systemd tells whether systemd is the machine's init, as sd_booted(3) does.
func Systemd() bool {
	_, err := os.Lstat("/run/systemd/system")
	return err == nil
}
