package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrBounded means that the caller's own control group is bounded, and the container's would be outside.
var ErrBounded = errors.New("your own control group is bounded")

// bounds are the files that bound a group, and what they say when they do not. (A group of version 1 stays what it was.)
var bounds = map[string][]string{
	"memory.max": {"max"}, "memory.high": {"max"}, "memory.swap.max": {"max"}, "pids.max": {"max"}, "cpu.max": {"max"}, "io.max": {""},
	"cpuset.cpus": {""}, "cpuset.mems": {""}, "cgroup.freeze": {"0"}, "cpu.weight": {"100", "0"}, "cpu.idle": {"0"},
}

// checkBounds refuses to take a container out of bounds that somebody has set for the caller.
func checkBounds(root string) error {
	own, err := ownGroup()
	if err != nil {
		return err
	}
	return unbounded(root, own)
}

// ownGroups is where the kernel tells of this process's groups, of both versions.
const ownGroups = "/proc/self/cgroup"

// ownGroup is the path of this process's group, in the hierarchy.
func ownGroup() (string, error) {
	data, err := os.ReadFile(ownGroups)
	if err != nil {
		return "", err
	}
	path, ok := groupOf("", string(data))
	if !ok {
		return "", fmt.Errorf("%w: this process is in no group of version 2", ErrMissing)
	}
	return path, nil
}

// groupOf finds the group of a controller of version 1, or of version 2 (""), in a
// file of the kernel's (cgroups(7)).
func groupOf(controller, text string) (path string, ok bool) {
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) == 3 && slices.Contains(strings.Split(fields[1], ","), controller) {
			return fields[2], true
		}
	}
	return "", false
}

// isSeen tells whether a group is in the part of the hierarchy that can be seen from
// this process's cgroup namespace.
func isSeen(path string) bool {
	return filepath.IsAbs(path) && path != "/.." && !strings.HasPrefix(path, "/../")
}

// unbounded looks at a group and all above it.
func unbounded(root, path string) error {
	if !isSeen(path) {
		return fmt.Errorf("%w: it is %s, outside of what can be seen here", ErrBounded, path)
	}
	for path = filepath.Clean(path); path != "/"; path = filepath.Dir(path) {
		for name, free := range bounds {
			data, err := os.ReadFile(filepath.Join(root, path, name))
			if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
				continue
			}
			if err != nil {
				return err
			}
			said, _, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
			if !slices.Contains(free, said) {
				return fmt.Errorf("%w: %s of %s is %q; the container's would be outside of it", ErrBounded, name, path, said)
			}
		}
	}
	return nil
}
