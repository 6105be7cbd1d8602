//go:build cgo

// Package btrfs holds the ioctls of package mayfly/btrfs against those of
// containerd's library, which uses the C headers of libbtrfs.
package btrfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	judge "github.com/containerd/btrfs/v2"
	"golang.org/x/sys/unix"

	"mayfly/btrfs"
	"mayfly/integration/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// directory makes an empty directory in the store, open.
func directory(t *testing.T) (path string, fd int) {
	t.Helper()
	path, err := os.MkdirTemp(kit.Store, ".btrfs-test-")
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		file.Close()
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	})
	return path, int(file.Fd())
}

func open(t *testing.T, path string) int {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func TestWhatWeMakeTheLibrarySees(t *testing.T) {
	path, dir := directory(t)
	if err := btrfs.Create(dir, "one"); err != nil {
		t.Fatal(err)
	}
	one := filepath.Join(path, "one")
	if err := judge.IsSubvolume(one); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(one, "file"), []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, readOnly := range []bool{false, true} {
		if err := btrfs.Snapshot(dir, "two", open(t, one), readOnly); err != nil {
			t.Fatal(err)
		}
		two := filepath.Join(path, "two")
		compare(t, two, open(t, two), readOnly)
		if data, err := os.ReadFile(filepath.Join(two, "file")); err != nil || string(data) != "content" {
			t.Errorf("the snapshot has %q, %v", data, err)
		}
		if err := btrfs.Delete(dir, "two"); err != nil {
			t.Fatal(err)
		}
		if err := judge.IsSubvolume(two); err == nil {
			t.Error("the library still sees a deleted subvolume")
		}
	}
	if err := btrfs.Delete(dir, "one"); err != nil {
		t.Fatal(err)
	}
}

// compare asks both for the description of a subvolume.
func compare(t *testing.T, path string, fd int, readOnly bool) {
	t.Helper()
	ours, err := btrfs.Describe(fd)
	if err != nil {
		t.Fatal(err)
	}
	id, err := judge.SubvolID(path)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := judge.SubvolInfo(path)
	if err != nil {
		t.Fatal(err)
	}
	if ours.ID != id || ours.ID != theirs.ID || ours.Name != theirs.Name || ours.ParentID != theirs.ParentID ||
		text(ours.UUID) != theirs.UUID || text(ours.ParentUUID) != theirs.ParentUUID || ours.ReadOnly != theirs.Readonly || ours.ReadOnly != readOnly {
		t.Errorf("we describe %+v, the library %+v", ours, theirs)
	}
	flag, err := btrfs.ReadOnly(fd)
	if err != nil || flag != readOnly {
		t.Errorf("read-only flag %v, %v", flag, err)
	}
}

// text writes a UUID as the library does, none for zero.
func text(id [16]byte) string {
	if id == [16]byte{} {
		return ""
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

func TestWhatTheLibraryMakesWeSee(t *testing.T) {
	path, dir := directory(t)
	one, two := filepath.Join(path, "one"), filepath.Join(path, "two")
	if err := judge.SubvolCreate(one); err != nil {
		t.Fatal(err)
	}
	if err := judge.SubvolSnapshot(two, one, true); err != nil {
		t.Fatal(err)
	}
	for name, readOnly := range map[string]bool{one: false, two: true} {
		fd := open(t, name)
		if is, err := btrfs.IsSubvolume(fd); err != nil || !is {
			t.Errorf("%s: %v, %v", name, is, err)
		}
		compare(t, name, fd, readOnly)
	}
	if err := btrfs.SetReadOnly(open(t, two), false); err != nil {
		t.Fatal(err)
	}
	compare(t, two, open(t, two), false)
	for _, name := range []string{"one", "two"} {
		if err := btrfs.Delete(dir, name); err != nil {
			t.Error(err)
		}
	}
}

func TestErrors(t *testing.T) {
	path, dir := directory(t)
	if err := btrfs.Delete(dir, "missing"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("delete what is not there: %v", err)
	}
	if err := btrfs.Create(dir, "outer"); err != nil {
		t.Fatal(err)
	}
	outer := open(t, filepath.Join(path, "outer"))
	if err := btrfs.Create(dir, "outer"); !errors.Is(err, unix.EEXIST) {
		t.Errorf("create what is there: %v", err)
	}
	if err := btrfs.Create(outer, "inner"); err != nil {
		t.Fatal(err)
	}
	if err := btrfs.Delete(dir, "outer"); !errors.Is(err, unix.ENOTEMPTY) {
		t.Errorf("delete what holds a subvolume: %v", err)
	}
	if err := errors.Join(btrfs.Delete(outer, "inner"), btrfs.Delete(dir, "outer")); err != nil {
		t.Error(err)
	}
	elsewhere := open(t, "/proc")
	if err := btrfs.Create(elsewhere, "x"); !errors.Is(err, btrfs.ErrNotSubvolume) {
		t.Errorf("create on procfs: %v", err)
	}
	if is, err := btrfs.IsSubvolume(elsewhere); err != nil || is {
		t.Errorf("procfs as a subvolume: %v, %v", is, err)
	}
}
