package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"mayfly/runtime/cgroup"
	"mayfly/runtime/image"
	"mayfly/runtime/state"
)

var gcCommand = command{
	name:     "gc",
	granted:  true,
	synopsis: "[flags]",
	bare:     true,
	summary:  "remove what killed launches and changes of images have left",
	examples: []string{"runtime gc", "runtime gc --install-timer"},
	setUp: func(flags *flag.FlagSet) action {
		store := storeFlag(flags)
		timer := flags.Bool("install-timer", false, "have systemd do it every hour (root)")
		return func([]string) (int, error) {
			if *timer {
				return asRootOnly(func(context.Context, []string) error { return installTimer() })(nil)
			}
			var removed []string
			err := withStore(store, func(s *image.Store) (err error) {
				removed, err = collectAll(s)
				return err
			})
			for _, name := range removed {
				fmt.Println("removed " + printable(name))
			}
			return exit(err)
		}
	},
}

// collectAll removes what belongs to the dead, which is told by locks: copies and drafts, halves of versions, control
// groups, records. (Mounts are in the namespaces of the dead and went with them.)
func collectAll(s *image.Store) ([]string, error) {
	removed, err := s.Collect(context.Background(), 0)
	swept, sweep := s.Sweep()
	removed = append(removed, swept...)
	if len(removed) > 0 {
		err = errors.Join(err, s.Reclaim())
	}
	groups, grouped := cgroup.Collect(state.IsAlive)
	if os.Getuid() == 0 {
		grouped = errors.Join(grouped, cgroup.Prepare())
	}
	return append(removed, groups...), errors.Join(err, sweep, grouped, state.Collect())
}

// The units of the timer, and where an administrator's are.
const (
	unitDirectory = "/etc/systemd/system"
	gcService     = "[Unit]\nDescription=Remove what killed Mayfly containers have left\n\n[Service]\nType=oneshot\nExecStart=%s gc\n"
	gcTimer       = "[Unit]\nDescription=Remove what killed Mayfly containers have left, every hour\n\n" +
		"[Timer]\nOnBootSec=5min\nOnUnitActiveSec=1h\n\n[Install]\nWantedBy=timers.target\n"
)

func installTimer() error {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return errors.New("systemd does not run here: have cron call `runtime gc`")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for name, text := range map[string]string{"mayfly-gc.service": fmt.Sprintf(gcService, self), "mayfly-gc.timer": gcTimer} {
		if err := os.WriteFile(filepath.Join(unitDirectory, name), []byte(text), 0o644); err != nil {
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
