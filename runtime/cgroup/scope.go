package cgroup

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"mayfly/nsexec"
)

// busctl speaks D-Bus for us. It comes with systemd.
const busctl = "/usr/bin/busctl"

// moveWithin bounds how long systemd may take.
const moveWithin = 10 * time.Second

// makeScope has systemd make a delegated scope with this process in it, and makes two groups inside: one for the
// process, unbounded, one for the container. The scope is in the slice of the owner, whose bounds hold for it too.
func (g *Group) makeScope(root string, owner uint32, container string, controllers []string) error {
	unit := fmt.Sprintf("mayfly-%d-%s.scope", owner, container)
	slice := "system.slice"
	if owner != 0 {
		slice = fmt.Sprintf("user-%d.slice", owner)
	}
	args := []string{"--system", "--quiet", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
		"org.freedesktop.systemd1.Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "fail", "5",
		"Description", "s", "Mayfly container " + container,
		"PIDs", "au", "1", strconv.Itoa(os.Getpid()),
		"Slice", "s", slice,
		"Delegate", "b", "true",
		"CollectMode", "s", "inactive-or-failed",
		"0"}
	if err := callSystemd(args); err != nil {
		return fmt.Errorf("systemd gives no scope: %w", err)
	}
	top, err := awaitMove(root, unit)
	if err != nil {
		return err
	}
	g.scope = top
	for _, name := range []string{"supervisor", "container"} {
		if err := os.Mkdir(filepath.Join(top, name), 0o755); err != nil {
			return err
		}
	}
	g.path = filepath.Join(top, "container")
	if err := write(filepath.Join(top, "supervisor", "cgroup.procs"), strconv.Itoa(os.Getpid())); err != nil {
		return err
	}
	return enable(top, controllers)
}

// callSystemd makes a call by busctl, as root.
func callSystemd(args []string) error {
	for begun := time.Now(); ; time.Sleep(moveWithin / 100) {
		cmd := exec.Command(busctl, args...)
		cmd.Env, cmd.Dir = []string{"PATH=/usr/bin:/bin"}, "/"
		_, err := nsexec.OutputAs(cmd, 0, 0)
		var failed *exec.ExitError
		if !errors.As(err, &failed) {
			return err
		}
		said := strings.TrimSpace(string(failed.Stderr))
		if !passes(said) || time.Since(begun) > moveWithin {
			return fmt.Errorf("busctl: %w: %s", err, said)
		}
	}
}

// passes tells whether what systemd says is over in a moment: a unit of that name is there a little longer than the container that it was
// for, who had the name before (no living container has it); and while a slice that has lost its last unit is being stopped,
// systemd starts no new one in it.
func passes(said string) bool {
	return strings.Contains(said, "already") || strings.Contains(said, "is destructive")
}

// awaitMove waits until systemd has moved this process into the unit, and returns its directory.
func awaitMove(root, unit string) (string, error) {
	for begun := time.Now(); time.Since(begun) < moveWithin; time.Sleep(pause) {
		path, err := ownGroup()
		if err != nil {
			return "", err
		}
		if filepath.Base(path) == unit {
			return filepath.Join(root, path), nil
		}
	}
	return "", fmt.Errorf("systemd did not start %s within %v", unit, moveWithin)
}

// leaveScope removes the container's group. The scope ends with this process, its last.
func (g *Group) leaveScope() error {
	if g.path == "" {
		return nil
	}
	return removeWhole(g.path)
}
