package launch

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mayfly/integration/kit"
)

// onDisk puts /tmp on the store's file system, for every image, and takes that back.
func onDisk(t *testing.T) {
	t.Helper()
	const file = "/etc/mayfly/policy.d/00-disk.toml"
	kit.Must(t, os.WriteFile(file, []byte("[[rule]]\nimages = [\"*\"]\ntmp = \"disk\"\nwritable = true\nroot-inside = true\nallow-bind = [\"/\"]\n"), 0o644))
	t.Cleanup(func() {
		kit.Must(t, os.Remove(file))
		kit.NothingLeft(t)
	})
}

// fileSystem is what stat(1) calls that of the store.
func fileSystem(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("stat", "-fc", "%T", kit.Store).Output()
	kit.Must(t, err)
	return strings.TrimSpace(string(out))
}

func TestTemporaryFilesOnDisk(t *testing.T) {
	onDisk(t)
	script := `for d in /tmp /var/tmp; do stat -c '%a %u %n' $d; stat -fc %T $d; cp /bin/true $d/own && $d/own && stat -c %u $d/own; ls -A $d; done; stat -fc %T /dev/shm; ` +
		`grep -E ' (/var)?/tmp ' /proc/self/mountinfo | grep -c 'nosuid,nodev'`
	_, uid, _ := kit.Lookup(t, kit.User)
	each := func(owner string) string {
		var b strings.Builder
		for _, d := range []string{"/tmp", "/var/tmp"} {
			b.WriteString("1777 0 " + d + "\n" + fileSystem(t) + "\n" + owner + "\nown\n")
		}
		return b.String() + "tmpfs\n2\n"
	}
	own := each(strconv.Itoa(int(uid)))
	for what, c := range map[string]struct {
		flags []string
		want  string
	}{
		"a version":         {[]string{kit.Sealed}, own},
		"a plain image":     {[]string{kit.Image}, own},
		"a writable root":   {[]string{"--writable", kit.Sealed}, own},
		"root inside":       {[]string{"--root", kit.Image}, each("0")},
		"root of a version": {[]string{"--root", kit.Sealed}, each("0")},
	} {
		r := kit.Run(t, append(append([]string{"run", "--chdir", "/"}, c.flags...), "sh", "-c", script)...)
		if r.Code != 0 || r.Out != c.want {
			t.Errorf("%s: %+v, want %q", what, r, c.want)
		}
	}
	kit.NothingLeft(t)
	// What is below /tmp is there as always.
	dir, err := os.MkdirTemp("", "mayfly-below-") // a directory of the test's is closed to others
	kit.Must(t, err)
	defer os.RemoveAll(dir)
	kit.Must(t, errors.Join(os.Chmod(dir, 0o755), os.WriteFile(filepath.Join(dir, "file"), []byte("bound\n"), 0o644)))
	if r := kit.Run(t, "run", "--chdir", "/", "--bind-ro", dir+":/tmp/a/b", kit.Sealed, "sh", "-c", "cat /tmp/a/b/file; echo x >/tmp/a/x && cat /tmp/a/x"); r.Out != "bound\n" || r.Code == 0 {
		t.Errorf("%+v", r)
	}
	if r := kit.Run(t, "run", "--chdir", "/", "--tmpfs", "/tmp", kit.Sealed, "stat", "-fc", "%T", "/tmp"); r.Out != "tmpfs\n" {
		t.Errorf("%+v", r)
	}
	// A session has new ones each time.
	if r := kit.Run(t, "session", "begin", "--name", "disk", kit.Image); r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	for range 2 {
		if r := kit.Run(t, "run", "--chdir", "/", "--session", "disk", "sh", "-c", "ls -A /tmp; echo x >/tmp/x"); r.Code != 0 || r.Out != "" {
			t.Errorf("%+v", r)
		}
	}
	if r := kit.Run(t, "session", "end", "disk"); r.Code != 0 {
		t.Errorf("%+v", r)
	}
}

// A disk of a supervisor that was killed is removed by the owner's next launch, and not
// before.
func TestADiskGoesWithItsContainer(t *testing.T) {
	onDisk(t)
	cmd := kit.As(t, kit.User, kit.Runtime, "run", "--chdir", "/", "--name", "disk", kit.Sealed, "sh", "-c", "mkdir -m 0 /tmp/closed; head -c 1000000 /dev/zero >/tmp/full; echo; sleep 600")
	out, err := cmd.StdoutPipe()
	kit.Must(t, errors.Join(err, cmd.Start()))
	_, err = out.Read(make([]byte, 1))
	kit.Must(t, err)
	kit.Succeed(t, "gc")
	if left := kit.Snapshots(t, kit.Store); len(left) != 1 {
		t.Errorf("while it runs: %q", left)
	}
	if r := kit.Run(t, "exec", "disk", "stat", "-c", "%s", "/tmp/full"); r.Out != "1000000\n" {
		t.Errorf("%+v", r)
	}
	kit.Must(t, cmd.Process.Signal(syscall.SIGKILL))
	_ = cmd.Wait()
	time.Sleep(100 * time.Millisecond) // its container ends
	if r := kit.Run(t, "gc"); r.Code != 0 {
		t.Errorf("%+v", r)
	}
}

// A user can make a subvolume on the disk, and one in it, and the first read-only.
func TestADiskWithSubvolumesGoes(t *testing.T) {
	if !kit.OnBTRFS() {
		return
	}
	_, uid, _ := kit.Lookup(t, kit.User)
	top := filepath.Join(kit.Store, ".mayfly", strconv.Itoa(int(uid))+".gone.0123456789abcdef")
	for _, name := range []string{top, top + "/a", top + "/a/b", top + "/a/b/c"} {
		kit.Command(t, "btrfs", "-q", "subvolume", "create", name)
	}
	for _, name := range []string{top + "/a/b", top + "/a"} {
		kit.Command(t, "btrfs", "property", "set", name, "ro", "true")
	}
	kit.Succeed(t, "gc")
	kit.NothingLeft(t)
}
