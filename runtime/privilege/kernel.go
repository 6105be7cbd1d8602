package privilege

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// CanLaunch tells what stands in the way of a launch before any image is looked at.
func CanLaunch() error {
	return errors.Join(CheckKernel(), Check(), hideMemory())
}

// minimum is the oldest kernel that has all that a launch uses; BTRFS takes
// ID-mapped mounts from there on.
const minimumMajor, minimumMinor = 5, 15

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
	second := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))] // "15" of "15-rc1"
	a, errA := strconv.Atoi(first)
	b, errB := strconv.Atoi(second)
	if errA == nil && errB == nil && (a > major || a == major && b >= minor) {
		return nil
	}
	return fmt.Errorf("this kernel is Linux %s: %d.%d or later is needed", release, major, minor)
}
