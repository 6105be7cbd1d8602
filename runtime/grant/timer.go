package grant

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"mayfly/runtime/internal/host"
)

// The units of the timer.
const (
	gcService = "[Unit]\nDescription=Remove what killed Mayfly containers have left\n\n[Service]\nType=oneshot\nExecStart=%s gc\n"
	gcTimer   = "[Unit]\nDescription=Remove what killed Mayfly containers have left, every hour\n\n" +
		"[Timer]\nOnBootSec=5min\nOnUnitActiveSec=1h\n\n[Install]\nWantedBy=timers.target\n"
)

// InstallTimer has systemd clean up every hour with the program at path.
func InstallTimer(path string) error {
	if !host.Systemd() {
		return errors.New("systemd does not run here: have cron call `runtime gc`")
	}
	for name, text := range map[string]string{"mayfly-gc.service": fmt.Sprintf(gcService, path), "mayfly-gc.timer": gcTimer} {
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
