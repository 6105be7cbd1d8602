package mount

import (
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMountPointsAreMadeOnTheGivenMountOnly(t *testing.T) {
	root := hostile(t)
	here, err := place(root.FD())
	if err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]bool{"/new/deep/dir": true, "/absolute/new/file": false, "/upwards/other": true} {
		if _, err := root.Create(name, dir, here.MountID+1); !errors.Is(err, ErrOutside) {
			t.Errorf("%s on another mount: %v", name, err)
		}
		if made, err := root.Create(name, dir, here.MountID); err != nil || made == 0 {
			t.Errorf("%s: made %d, %v", name, made, err)
		}
		if made, err := root.Create(name, dir, here.MountID); err != nil || made != 0 {
			t.Errorf("%s again: made %d, %v", name, made, err)
		}
		target, err := root.Name(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if made, err := target.Place(); err != nil || made.IsDir != dir {
			t.Errorf("%s: %+v, %v", name, made, err)
		}
		target.Close()
	}
}

func TestWhatIsInTheWayIsNotReplaced(t *testing.T) {
	root := hostile(t)
	here, err := place(root.FD())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{
		"/etc/dangling": unix.EEXIST, "/etc/dangling/x": unix.EEXIST, "/etc/passwd/x": unix.ENOTDIR, "/loop/x": unix.ELOOP, "/fifo/x": unix.ENOTDIR,
	} {
		if made, err := root.Create(name, true, here.MountID); !errors.Is(err, want) || made != 0 {
			t.Errorf("%s: made %d, %v, want %v", name, made, err, want)
		}
	}
	if made, err := root.Create("/", true, here.MountID); made != 0 || err != nil {
		t.Errorf("the root: made %d, %v", made, err)
	}
	if made, err := root.Create("/fifo", true, here.MountID); made != 0 || err != nil {
		t.Errorf("a FIFO: made %d, %v", made, err)
	}
}

// What a path costs is as its length, not the square or the cube of it.
func TestALongPathIsWalkedOnce(t *testing.T) {
	root := hostile(t)
	here, err := place(root.FD())
	if err != nil {
		t.Fatal(err)
	}
	cost := func(name string) time.Duration {
		best := time.Hour
		for _, top := range []string{"/1/", "/2/", "/3/"} {
			begun := time.Now()
			if _, err := root.Create(top+name, true, here.MountID); err != nil {
				t.Fatal(err)
			}
			best = min(best, time.Since(begun))
		}
		return best
	}
	short, long := cost(strings.Repeat("s/", 100)), cost(strings.Repeat("l/", 1600))
	if long > 16*8*short { // sixteen times as long; by the square it would be 256 times
		t.Errorf("100 components %v, 1600 %v", short, long)
	}
}

func TestWhereALinkLeadsThatLeadsNowhere(t *testing.T) {
	root := hostile(t)
	for name, link := range map[string]string{"home": "var/home", "opt": "/var/./opt", "deep": "../../../../up/x", "chain": "home/y", "round": "round"} {
		if err := unix.Symlinkat(link, root.FD(), name); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"/home": "/var/home", "/home/a/b": "/var/home/a/b", "/opt": "/var/opt", "/deep": "/up/x",
		"/chain": "/var/home/y", "/etc/passwd": "/etc/passwd", "/nosuch/x": "/nosuch/x", "/": "/"} {
		if got, err := root.Target(name); got != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
	if got, err := root.Target("/round/x"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a loop: %q, %v", got, err)
	}
}
