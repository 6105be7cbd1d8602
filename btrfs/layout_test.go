package btrfs

import (
	"strings"
	"testing"
	"unsafe"
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
		{"offsetof btrfs_ioctl_get_subvol_info_args.flags", unsafe.Offsetof(subvolInfo{}.flags), 288},
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
