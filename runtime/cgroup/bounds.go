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

// ownGroup is the path of this process's group, in the hierarchy.
func ownGroup() (string, error) {
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: this process is in no group of version 2", ErrMissing)
}

// unbounded looks at a group and all above it.
func unbounded(root, path string) error {
	if !filepath.IsAbs(path) || path == "/.." || strings.HasPrefix(path, "/../") {
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
