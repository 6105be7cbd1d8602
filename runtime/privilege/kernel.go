package privilege

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// CanLaunch returns an error if the kernel, the grant or fs.suid_dumpable stands in the
// way of any launch. It clears the process's dumpable flag.
func CanLaunch() error {
	return errors.Join(CheckKernel(), Check(), hideMemory())
}

// minimumMajor and minimumMinor are the oldest kernel that has all that a launch uses.
// ID-mapped mounts of BTRFS are from 5.15.
const minimumMajor, minimumMinor = 5, 15

// CheckKernel returns an error if the kernel is older than Linux 5.15.
func CheckKernel() error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return fmt.Errorf("uname: %w", err)
	}
	release := unix.ByteSliceToString(name.Release[:])
	return kernelAtLeast(release, minimumMajor, minimumMinor)
}

func kernelAtLeast(release string, major, minor int) error {
	first, rest, _ := strings.Cut(release, ".")
	// The minor number: "15" of "15-rc1".
	second := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	a, errA := strconv.Atoi(first)
	b, errB := strconv.Atoi(second)
	if errA == nil && errB == nil && (a > major || a == major && b >= minor) {
		return nil
	}
	return fmt.Errorf("this kernel is Linux %s: %d.%d or later is needed", release, major, minor)
}
