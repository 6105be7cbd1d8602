package attack

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"mayfly/integration/kit"
)

// sharedDirectory is one of the user's that is a mount of its own, shared as systemd
// makes all mounts of a host.
func sharedDirectory(t *testing.T) string {
	t.Helper()
	dir := home(t, kit.User)
	kit.Must(t, unix.Mount(dir, dir, "", unix.MS_BIND, ""))
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	kit.Must(t, unix.Mount("", dir, "", unix.MS_SHARED, ""))
	return dir
}

// meanwhile runs a script in a container until its `read x`, then does something on the
// host, and returns what the script says after that.
func (w way) meanwhile(t *testing.T, do func(), flags []string, script string, args ...string) string {
	t.Helper()
	cmd := w.cmd(t, slices.Concat([]string{"run", "--quiet", "--chdir", "/"}, w.mode, flags, []string{kit.Image, "sh", "-c", "echo ready; read x; " + script}, args)...)
	in, err := cmd.StdinPipe()
	kit.Must(t, err)
	out, err := cmd.StdoutPipe()
	kit.Must(t, err)
	kit.Must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("it says %q", lines.Text())
	}
	do()
	kit.Must(t, in.Close())
	text := ""
	for lines.Scan() {
		text += lines.Text() + "\n"
	}
	_ = cmd.Wait()
	return text
}

// What the host mounts below a bind while a container runs would have the attributes
// that it has on the host: it does not appear.
func TestI20WhatIsMountedLater(t *testing.T) {
	everyMode(t, func(t *testing.T, w way) {
		for _, fstype := range []string{"proc", "sysfs", "tmpfs"} {
			dir := sharedDirectory(t)
			below := filepath.Join(dir, "below")
			kit.Must(t, os.Mkdir(below, 0o755))
			said := w.meanwhile(t, func() { kit.Must(t, unix.Mount(fstype, below, fstype, 0, "")) }, []string{"--bind", dir + ":/mnt"},
				`ls -A "$0/below"; ls -A /mnt/below; grep -c /below /proc/self/mountinfo`, dir)
			if said != "0\n" {
				t.Errorf("%s: %q", fstype, said)
			}
			kit.Must(t, unix.Unmount(below, 0))
		}
	})
}

// Where the policy says so it appears, in writable binds only.
func TestI20WhatIsMountedLaterByTheKey(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		rule(t, "[[rule]]\nimages=[\"*\"]\nallow-bind=[\"/\"]\nbind-slave=true\n")
		dir := sharedDirectory(t)
		below := filepath.Join(dir, "below")
		kit.Must(t, os.Mkdir(below, 0o755))
		mount := func() {
			kit.Must(t, unix.Mount("none", below, "tmpfs", 0, ""))
			write(t, filepath.Join(below, "seen"), "x")
		}
		said := w.meanwhile(t, mount, []string{"--bind-ro", dir + ":/mnt"}, `ls "$0/below"; ls /mnt/below`, dir)
		if said != "seen\n" {
			t.Errorf("%q", said)
		}
		kit.Must(t, unix.Unmount(below, 0))
	})
}
