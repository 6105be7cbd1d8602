package mount

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// hostile makes a directory tree whose links lead out of it, and opens it.
func hostile(t *testing.T) Root {
	t.Helper()
	dir := t.TempDir()
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "etc"), 0o755),
		os.WriteFile(filepath.Join(dir, "etc", "passwd"), []byte("inside"), 0o644),
		os.Symlink("/etc", filepath.Join(dir, "absolute")),
		os.Symlink("../../../../../../../../etc", filepath.Join(dir, "upwards")),
		os.Symlink("loop", filepath.Join(dir, "loop")),
		os.Symlink("/proc/self/root", filepath.Join(dir, "magic")),
		os.Symlink("/nosuch/passwd", filepath.Join(dir, "etc", "dangling")),
		unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return RootAt(fd)
}

func TestNoPathLeadsOut(t *testing.T) {
	root := hostile(t)
	for _, name := range []string{"/etc/passwd", "etc/passwd", "absolute/passwd", "upwards/passwd", "../../etc/passwd", "/absolute/../etc/passwd"} {
		fd, err := root.OpenRegular(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var text [16]byte
		if n, err := unix.Read(fd, text[:]); err != nil || string(text[:n]) != "inside" {
			t.Errorf("%s: read %q, %v", name, text[:n], err)
		}
		unix.Close(fd)
	}
}

func TestWhatIsNoRegularFileIsNotOpened(t *testing.T) {
	root := hostile(t)
	for name, want := range map[string]error{
		"fifo": ErrNotRegular, "etc": ErrNotRegular, "/": ErrNotRegular, "loop": unix.ELOOP,
		"magic/etc/passwd": unix.ENOENT, "etc/dangling": unix.ENOENT, "nosuch": unix.ENOENT, "a\x00b": unix.EINVAL,
	} {
		if _, err := root.OpenRegular(name); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", name, err, want)
		}
	}
}

func TestANameIsTakenAsItIs(t *testing.T) {
	root := hostile(t)
	target, err := root.Name("/absolute/dangling")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	var st unix.Stat_t
	if err := unix.Fstat(target.FD(), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFLNK {
		t.Errorf("mode %o, %v: want the link itself", st.Mode, err)
	}
}

// Somebody changes the tree at the very moment: what is opened is what was looked at,
// and regular.
func TestWhatIsLookedAtIsOpened(t *testing.T) {
	root := hostile(t)
	var stop atomic.Bool
	var group sync.WaitGroup
	group.Go(func() {
		for !stop.Load() {
			_ = unix.Renameat2(root.FD(), "fifo", root.FD(), "etc/passwd", unix.RENAME_EXCHANGE)
		}
	})
	for range 20_000 {
		fd, err := root.OpenRegular("/etc/passwd")
		if errors.Is(err, ErrNotRegular) {
			continue
		}
		var st unix.Stat_t
		if err == nil {
			err = unix.Fstat(fd, &st)
			unix.Close(fd)
		}
		if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			t.Errorf("mode %o, %v", st.Mode, err)
			break
		}
	}
	stop.Store(true)
	group.Wait()
}
