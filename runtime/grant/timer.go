package grant

import (
	_ "embed" // for the units
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"mayfly/runtime/internal/host"
)

// The units of the timers. The Debian package contains the same files, but for those in
// template, whose command somebody has to say.
var (
	//go:embed units/mayfly-gc.service
	gcService string
	//go:embed units/mayfly-gc.timer
	gcTimer string
	//go:embed units/mayfly-update.service
	updateService string
	//go:embed units/mayfly-update.timer
	updateTimer string
	//go:embed template/mayfly-sync.service
	syncService string
	//go:embed template/mayfly-sync.timer
	syncTimer string
)

// packaged is the program's path in the units of the Debian package.
const packaged = "/usr/bin/runtime"

// InstallTimer makes systemd run the program at path every hour, to remove leftovers.
func InstallTimer(path string) error {
	return install(path, "mayfly-gc", gcService, gcTimer, "runtime gc")
}

// InstallUpdateTimer makes systemd run the program at path every day, to update images.
func InstallUpdateTimer(path string) error {
	return install(path, "mayfly-update", updateService, updateTimer, "runtime image update --all")
}

// InstallSyncTimer makes systemd run a command every hour, which brings images.
func InstallSyncTimer(command []string) error {
	service := strings.ReplaceAll(syncService, packaged, commandLine(command))
	return install(packaged, "mayfly-sync", service, syncTimer, strings.Join(command, " "))
}

// commandLine quotes a command for a unit, see "COMMAND LINES" in systemd.service(5).
func commandLine(command []string) string {
	words := make([]string, len(command))
	for i, word := range command {
		words[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%", "$", "$$", "\n", `\n`).Replace(word) + `"`
	}
	return strings.Join(words, " ")
}

// install installs a timer and the service that it starts. command is what cron can
// call in their place.
func install(path, name, service, timer, command string) error {
	if !host.Systemd() {
		return fmt.Errorf("systemd does not run here: have cron call `%s`", command)
	}
	for name, text := range map[string]string{name + ".service": strings.ReplaceAll(service, packaged, path), name + ".timer": timer} {
		if err := os.WriteFile(filepath.Join(host.UnitDirectory, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("install timer: %w", err)
		}
	}
	for _, args := range [][]string{{"daemon-reload"}, {"enable", "--now", name + ".timer"}} {
		if out, err := exec.Command("systemctl", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("systemctl %s: %w: %s", args[0], err, out)
		}
	}
	return nil
}
