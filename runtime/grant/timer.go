package grant

import (
	_ "embed" // for the units
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"mayfly/runtime/internal/host"
)

// The units of the timer. The Debian package contains the same files.
var (
	//go:embed units/mayfly-gc.service
	gcService string
	//go:embed units/mayfly-gc.timer
	gcTimer string
)

// packaged is the program's path in the units of the Debian package.
const packaged = "/usr/bin/runtime"

// InstallTimer makes systemd run the program at path every hour, to remove leftovers.
func InstallTimer(path string) error {
	if !host.Systemd() {
		return errors.New("systemd does not run here: have cron call `runtime gc`")
	}
	for name, text := range map[string]string{"mayfly-gc.service": strings.ReplaceAll(gcService, packaged, path), "mayfly-gc.timer": gcTimer} {
		if err := os.WriteFile(filepath.Join(host.UnitDirectory, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("install timer: %w", err)
		}
	}
	for _, args := range [][]string{{"daemon-reload"}, {"enable", "--now", "mayfly-gc.timer"}} {
		if out, err := exec.Command("systemctl", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("systemctl %s: %w: %s", args[0], err, out)
		}
	}
	return nil
}
