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

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/internal/file"
)

// busctl is systemd's command for D-Bus calls.
const busctl = "/usr/bin/busctl"

// moveWithin is how long to wait for systemd.
const moveWithin = 10 * time.Second

// makeScope lets systemd make a delegated scope with this process in it. It makes two
// groups in the scope: one for this process, without limits, and one for the container.
// The scope is in the owner's slice, so the limits of the slice apply.
func (g *Group) makeScope(root string, owner uint32, container string, controllers []string) error {
	if owner != 0 {
		own, err := ownGroup()
		if err == nil {
			err = managed(own)
		}
		if err != nil {
			return err
		}
	}
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
	if _, err := callSystemd(args); err != nil {
		return fmt.Errorf("systemd gives no scope: %w", err)
	}
	top, err := awaitMove(root, unit)
	if err == nil {
		err = rootsAlone(root, top, 0)
	}
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

// callSystemd runs busctl as root, and returns its output.
func callSystemd(args []string) (string, error) {
	for begun := time.Now(); ; time.Sleep(moveWithin / 100) {
		cmd := exec.Command(busctl, args...)
		cmd.Env, cmd.Dir = []string{"PATH=/usr/bin:/bin"}, "/"
		out, err := nsexec.OutputAs(cmd, 0, 0)
		var failed *exec.ExitError
		if !errors.As(err, &failed) {
			return string(out), err
		}
		said := strings.TrimSpace(string(failed.Stderr))
		if !passes(said) || time.Since(begun) > moveWithin {
			return "", fmt.Errorf("busctl: %w: %s", err, said)
		}
	}
}

// passes returns whether an error of systemd is temporary. A unit outlives its
// container for a moment, so the name may still be taken (no living container has it).
// And while a slice that has lost its last unit is being stopped, systemd starts no
// unit in it.
func passes(said string) bool {
	return strings.Contains(said, "already") || strings.Contains(said, "is destructive")
}

// awaitMove waits until systemd has moved this process into the unit, and returns the
// unit's directory. The name of this process's group does not prove the move: a caller
// with a delegated group can make a group of that name and start in it. So awaitMove
// asks systemd for the unit's whole path.
func awaitMove(root, unit string) (string, error) {
	for begun := time.Now(); time.Since(begun) < moveWithin; time.Sleep(pause) {
		own, err := ownGroup()
		if err != nil {
			return "", err
		}
		if filepath.Base(own) != unit {
			continue
		}
		told, err := callSystemd([]string{"--system", "get-property", "org.freedesktop.systemd1",
			"/org/freedesktop/systemd1/unit/" + busLabel(unit), "org.freedesktop.systemd1.Scope", "ControlGroup"})
		if err != nil {
			return "", fmt.Errorf("ask systemd where %s is: %w", unit, err)
		}
		group, err := parseProperty(told)
		if err != nil {
			return "", fmt.Errorf("ask systemd where %s is: %w", unit, err)
		}
		if group == own {
			return filepath.Join(root, own), nil
		}
	}
	return "", fmt.Errorf("systemd did not start %s within %v", unit, moveWithin)
}

// busLabel escapes a unit's name for a D-Bus object path: a character that is not a
// letter or digit, and a digit at the beginning, becomes an underscore and two
// hexadecimal digits.
func busLabel(name string) string {
	var b strings.Builder
	for i, c := range []byte(name) {
		letter, digit := c|0x20 >= 'a' && c|0x20 <= 'z', c >= '0' && c <= '9'
		if letter || digit && i > 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return b.String()
}

// parseProperty parses a string as busctl prints it: its type, then the quoted text.
func parseProperty(printed string) (string, error) {
	quoted, isString := strings.CutPrefix(strings.TrimSpace(printed), "s ")
	text, err := strconv.Unquote(quoted)
	if !isString || err != nil {
		return "", fmt.Errorf("busctl printed %q, which is no string", printed)
	}
	return text, nil
}

// rootsAlone refuses a group if anybody but root can write to it or to a group above
// it: who can write there can make groups, move processes and raise limits.
func rootsAlone(root, group string, owner uint32) error {
	for dir := group; ; dir = filepath.Dir(dir) {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return &os.PathError{Op: "open", Path: dir, Err: err}
		}
		err = file.OwnedBy(fd, owner)
		unix.Close(fd)
		if err != nil {
			return fmt.Errorf("control group %s: %w", dir, err)
		}
		if dir == root || dir == "/" {
			return nil
		}
	}
}

// leaveScope removes the container's group. The scope ends with this process, its last
// one.
func (g *Group) leaveScope() error {
	if g.path == "" {
		return nil
	}
	return removeWhole(g.path)
}
