package attack

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mayfly/integration/kit"
)

// odd are names of directories that mountinfo does not show as they are, for it has one
// mount a line and blanks between its fields.
var odd = []string{"plain", "with blank", "tab\there", "new\nline", `back\slash`, `\040`, "quoted#", "x (deleted)", "x//deleted", "ünïcode"}

// bindArgument is a path as --bind takes it.
func bindArgument(path string) string { return strings.ReplaceAll(path, `\`, `\\`) + ":/mnt" }

// mountProc mounts the host's procfs on a directory that it makes.
func mountProc(t *testing.T, dir string) {
	t.Helper()
	kit.Must(t, os.MkdirAll(dir, 0o755))
	kit.Must(t, unix.Mount("proc", dir, "proc", 0, ""))
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

// What a bind brings along is not the host's procfs, whatever the way to it is called.
func TestC42ProcfsBelowABind(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		dir := home(t, kit.User)
		for _, name := range odd {
			source := filepath.Join(dir, name)
			mountProc(t, filepath.Join(source, "below"))
			refused(t, name, w.run(t, "run", "--bind-ro", bindArgument(source), kit.Image, "true"), "the host's processes in it")
			refused(t, name+", from above", w.run(t, "run", "--bind", dir+":/mnt", kit.Image, "true"), "the host's processes in it")
			mountProc(t, filepath.Join(dir, name+" itself"))
			refused(t, name+" itself", w.run(t, "run", "--bind-ro", bindArgument(filepath.Join(dir, name+" itself")), kit.Image, "true"), "the host's /proc")
			kit.Must(t, unix.Unmount(filepath.Join(source, "below"), 0))
			kit.Must(t, unix.Unmount(filepath.Join(dir, name+" itself"), 0))
		}
	})
}

// Beneath another mount, as a bind of one directory of it, as one of its files: procfs
// all the same.
func TestC42ProcfsInDisguise(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		dir := home(t, kit.User)
		at := func(name string, isDir bool) string {
			path := filepath.Join(dir, name, "below")
			kit.Must(t, os.MkdirAll(path, 0o755))
			if !isDir {
				path = filepath.Join(dir, name, "file")
				write(t, path, "")
			}
			t.Cleanup(func() {
				for unix.Unmount(path, unix.MNT_DETACH) == nil {
				}
			})
			return path
		}
		hidden := at("hidden", true)
		kit.Must(t, unix.Mount("proc", hidden, "proc", 0, ""))
		kit.Must(t, unix.Mount("none", hidden, "tmpfs", 0, ""))
		kit.Must(t, unix.Mount("/proc/sys", at("part", true), "", unix.MS_BIND, ""))
		kit.Must(t, unix.Mount("/proc/1/environ", at("one", false), "", unix.MS_BIND, ""))
		for _, name := range []string{"hidden", "part", "one"} {
			refused(t, name, w.run(t, "run", "--bind-ro", filepath.Join(dir, name)+":/mnt", kit.Image, "true"), "the host's processes in it")
		}
	})
}

// What the policy binds for everybody cannot be refused to everybody because somebody
// has a chroot with a procfs in their home: the procfs is covered.
func TestC42ProcfsBelowThePolicysBind(t *testing.T) {
	everyMode(t, func(t *testing.T, w way) {
		dir := home(t, kit.User)
		for _, name := range odd {
			proc := filepath.Join(dir, name, "proc")
			mountProc(t, proc)
			r := w.run(t, append(append([]string{"run", "--chdir", "/"}, w.mode...), kit.Image, "sh", "-c", `ls -A "$0" | head -n 3; ls /proc/self/status`, proc)...)
			if r.Code != 0 || r.Out != "/proc/self/status\n" {
				t.Errorf("%q: %+v", name, r)
			}
			kit.Must(t, unix.Unmount(proc, 0))
		}
		twice := filepath.Join(dir, "twice")
		mountProc(t, twice)
		mountProc(t, twice)
		r := w.run(t, append(append([]string{"run", "--chdir", "/"}, w.mode...), kit.Image, "ls", "-A", twice)...)
		if r.Code != 0 || r.Out != "" {
			t.Errorf("one over the other: %+v", r)
		}
		file := filepath.Join(dir, "status")
		write(t, file, "")
		kit.Must(t, unix.Mount("/proc/1/status", file, "", unix.MS_BIND, ""))
		defer func() { _ = unix.Unmount(file, unix.MNT_DETACH) }()
		r = w.run(t, append(append([]string{"run", "--chdir", "/"}, w.mode...), kit.Image, "cat", file)...)
		if r.Code != 0 || r.Out != "" {
			t.Errorf("a file of procfs: %+v", r)
		}
	})
}

// In a directory that is closed to the caller and to a root without capabilities there
// may be one too, and the directory may be opened while the container runs.
func TestC42ProcfsBehindAClosedDoor(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		closed := home(t, kit.Other)
		proc := filepath.Join(closed, "a b", "proc")
		mountProc(t, proc)
		said := w.meanwhile(t, func() { kit.Must(t, os.Chmod(closed, 0o755)) }, nil, `ls -A "$0"`, proc)
		if said != "" {
			t.Errorf("behind the door is %q", said)
		}
	})
}
