package tree

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// deep makes directories in each other, with a file in the last, and opens the one that
// they are in.
func deep(t *testing.T, levels int) (dir string, fd int) {
	t.Helper()
	dir = t.TempDir()
	fd, err := unix.Open(dir, directoryFlags, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	at, err := unix.Openat(fd, ".", directoryFlags, 0)
	for range levels {
		if err == nil {
			err = unix.Mkdirat(at, "d", 0o755)
		}
		next := -1
		if err == nil {
			next, err = unix.Openat(at, "d", directoryFlags, 0)
		}
		unix.Close(at)
		at = next
	}
	if err == nil {
		err = unix.Symlinkat("/", at, "last")
	}
	unix.Close(at)
	if err != nil {
		t.Fatal(err)
	}
	return dir, fd
}

// open counts the descriptors of this process.
func open(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestADeepTreeIsWalkedWithFewDescriptors(t *testing.T) {
	const levels = 3000
	dir, fd := deep(t, levels)
	if err := os.WriteFile(filepath.Join(dir, "e"), nil, 0o644); err != nil { // after all of it, at the top
		t.Fatal(err)
	}
	before, most, entries, last := open(t), 0, 0, ""
	err := Walk(context.Background(), fd, func(e *Entry, _ Opener) error {
		if entries++; e.Type() == unix.S_IFLNK {
			most = open(t)
			if want := strings.Repeat("d/", levels) + "last"; e.Path != want || e.Target != "/" {
				t.Errorf("the innermost is %.20q of %d bytes", e.Path, len(e.Path))
			}
		}
		last = e.Path
		return nil
	})
	if err != nil || entries != levels+3 || last != "e" || most-before > window+2 {
		t.Errorf("%d entries, the last %.20q, %d descriptors, %v", entries, last, most-before, err)
	}
	if after := open(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func TestADeepTreeIsRemoved(t *testing.T) {
	dir, fd := deep(t, 3000)
	before, gone := open(t), 0
	if err := Remove(fd, "d", func(uint64) { gone++ }); err != nil || gone == 0 {
		t.Fatal(gone, err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 0 || open(t) != before {
		t.Errorf("left %v, %v, %d descriptors", list, err, open(t)-before)
	}
	if err := Remove(fd, "d", nil); err != nil {
		t.Errorf("what is not there: %v", err)
	}
}

func TestDirectoriesComeInnermostFirst(t *testing.T) {
	_, fd := deep(t, 200)
	count := 0
	err := Directories(fd, "d", func(above int, name string, _ uint64) error {
		if count++; count == 1 { // the innermost has the link
			return Remove(above, name, nil)
		}
		return unix.Unlinkat(above, name, unix.AT_REMOVEDIR)
	})
	if err != nil || count != 200 {
		t.Errorf("%d, %v", count, err)
	}
}

// A directory that is moved out of a tree while that is removed leads nowhere else.
func TestNothingBesideTheTreeIsRemoved(t *testing.T) {
	dir, fd := deep(t, 3*window)
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "kept"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	moved := false
	err := Remove(fd, "d", func(uint64) {
		inner := filepath.Join(dir, strings.Repeat("d/", 2*window))
		if _, err := os.Lstat(inner); err == nil && !moved && open(t) > window {
			moved = os.Rename(inner, filepath.Join(outside, "d")) == nil
		}
	})
	if _, kept := os.Lstat(filepath.Join(outside, "kept")); !moved || kept != nil {
		t.Errorf("moved %v, %v, %v", moved, err, kept)
	}
	if _, err := os.Lstat(filepath.Join(dir, "d")); !os.IsNotExist(err) {
		t.Errorf("the rest of the tree: %v", err)
	}
}
