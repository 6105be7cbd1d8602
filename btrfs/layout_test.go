package btrfs

import (
	"errors"
	"os"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel checks the size of an argument through the ioctl number; the
// offsets it takes on trust.
func TestArgumentsHaveTheKernelsLayout(t *testing.T) {
	for _, c := range []struct {
		what      string
		got, want uintptr
	}{
		{"sizeof btrfs_ioctl_vol_args", unsafe.Sizeof(volArgs{}), 4096},
		{"sizeof btrfs_ioctl_vol_args_v2", unsafe.Sizeof(volArgsV2{}), 4096},
		{"offsetof btrfs_ioctl_vol_args_v2.name", unsafe.Offsetof(volArgsV2{}.name), 56},
		{"sizeof btrfs_ioctl_get_subvol_info_args", unsafe.Sizeof(subvolInfo{}), 504},
		{"offsetof btrfs_ioctl_vol_args.name", unsafe.Offsetof(volArgs{}.name), 8},
		{"offsetof btrfs_ioctl_vol_args_v2.flags", unsafe.Offsetof(volArgsV2{}.flags), 16},
		{"offsetof btrfs_ioctl_get_subvol_info_args.parent_id", unsafe.Offsetof(subvolInfo{}.parentID), 264},
		{"offsetof btrfs_ioctl_get_subvol_info_args.generation", unsafe.Offsetof(subvolInfo{}.generation), 280},
		{"offsetof btrfs_ioctl_get_subvol_info_args.flags", unsafe.Offsetof(subvolInfo{}.flags), 288},
		{"offsetof btrfs_ioctl_get_subvol_info_args.uuid", unsafe.Offsetof(subvolInfo{}.uuid), 296},
		{"offsetof btrfs_ioctl_get_subvol_info_args.otime", unsafe.Offsetof(subvolInfo{}.otime), 392},
	} {
		if c.got != c.want {
			t.Errorf("%s is %d, want %d", c.what, c.got, c.want)
		}
	}
}

func TestNamesThatAreNoFileNamesAreRefused(t *testing.T) {
	for _, name := range []string{"", ".", "..", "a/b", "a\x00b", strings.Repeat("x", 256)} {
		if err := Create(-1, name); err == nil || !strings.Contains(err.Error(), "name") {
			t.Errorf("name %q: got %v, want a refusal of the name", name, err)
		}
	}
}

func TestANameIsAFieldOfItsArgument(t *testing.T) {
	var args volArgsV2
	longest := strings.Repeat("x", maxName)
	if err := setName(args.name[:], longest); err != nil || string(args.name[:maxName]) != longest || args.name[maxName] != 0 {
		t.Errorf("%q, %v", args.name[:maxName+1], err)
	}
}

// procfs knows none of these ioctls, on every machine.
func TestElsewhereThanOnBTRFSThereAreNoSubvolumes(t *testing.T) {
	dir, err := os.Open("/proc/self")
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	fd := int(dir.Fd())
	if is, err := Is(fd); is || err != nil {
		t.Errorf("it is BTRFS: %v, %v", is, err)
	}
	if is, err := IsSubvolume(fd); is || err != nil {
		t.Errorf("it is a subvolume: %v, %v", is, err)
	}
	_, described := Describe(fd)
	_, readOnly := ReadOnly(fd)
	_, spaces := Spaces(fd)
	for what, err := range map[string]error{
		"create subvolume x": Create(fd, "x"), "create snapshot x": Snapshot(fd, "x", fd, true), "delete subvolume x": Delete(fd, "x"),
		"set read-only": SetReadOnly(fd, true), "describe subvolume": described, "read subvolume flags": readOnly,
		"read space of the file system": spaces, "sync": Sync(fd),
	} {
		if !errors.Is(err, ErrNotSubvolume) {
			t.Errorf("%s: %v, want ErrNotSubvolume", what, err)
		}
	}
	if _, err := Is(-1); !errors.Is(err, unix.EBADF) {
		t.Errorf("%v, want EBADF", err)
	}
}
