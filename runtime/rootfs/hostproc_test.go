package rootfs

import (
	"slices"
	"testing"

	"mayfly/mount"
)

func TestProcfsOfTheHostsIsToldFromTheContainers(t *testing.T) {
	mounts := []mount.Info{
		{ID: 1, Parent: 1, Device: "0:1", Point: "/", Type: "btrfs"},
		{ID: 2, Parent: 1, Device: "0:2", Point: "/proc", Type: "proc"},
		{ID: 3, Parent: 2, Device: "0:2", Point: "/proc/sys", Type: "proc"},
		{ID: 4, Parent: 1, Device: "8:1", Point: "/home", Type: "ext4"},
		{ID: 5, Parent: 4, Device: "0:9", Point: "/home/a b/proc", Type: "proc"},
		{ID: 6, Parent: 5, Device: "0:10", Point: "/home/a b/proc", Type: "tmpfs"},
		{ID: 7, Parent: 4, Device: "0:9", Point: "/home/x", Type: "proc"},
		{ID: 8, Parent: 7, Device: "0:11", Point: "/home/x/sys/fs/binfmt_misc", Type: "binfmt_misc"},
	}
	foreign, err := foreignProc(mounts, 2)
	if err != nil || len(foreign) != 2 || foreign[0].ID != 5 || foreign[1].ID != 7 {
		t.Fatalf("%+v, %v", foreign, err)
	}
	if !covered(mounts, foreign[0]) || covered(mounts, foreign[1]) {
		t.Error("5 has a mount on its root, 7 has not")
	}
	if ids := ancestors(mounts, foreign[0]); !slices.Equal(ids, []uint64{5, 4, 1}) {
		t.Errorf("above 5: %v", ids)
	}
	if _, err := foreignProc(mounts, 99); err == nil {
		t.Error("the container's own is not there, and nothing is said")
	}
}

func TestAncestorsEnd(t *testing.T) {
	loop := []mount.Info{{ID: 1, Parent: 2}, {ID: 2, Parent: 1}}
	if ids := ancestors(loop, loop[0]); len(ids) > 3 {
		t.Errorf("%v", ids)
	}
}
