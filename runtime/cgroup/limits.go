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

// ErrLimited means that the caller's own control group has limits. The container's
// group would be outside of it.
var ErrLimited = errors.New("your own control group is bounded")

// limitFiles returns the files that limit a group, and their contents without a limit.
// (Groups of cgroup v1 do not change.)
func limitFiles() map[string][]string {
	return map[string][]string{
		"memory.max": {"max"}, "memory.high": {"max"}, "memory.swap.max": {"max"}, "pids.max": {"max"}, "cpu.max": {"max"}, "io.max": {""},
		"cpuset.cpus": {""}, "cpuset.mems": {""}, "cgroup.freeze": {"0"}, "cpu.weight": {"100", "0"}, "cpu.idle": {"0"},
	}
}

// checkLimits returns an error if the caller's control group has limits: the container
// must not escape them.
func checkLimits(root string) error {
	own, err := ownGroup()
	if err != nil {
		return err
	}
	return unbounded(root, own)
}

// ownGroups lists this process's groups of both cgroup versions.
const ownGroups = "/proc/self/cgroup"

// ownGroup returns the path of this process's group in the hierarchy of cgroup v2.
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

// groupOf finds the group of a v1 controller, or of v2 (""), in the text of
// /proc/self/cgroup (cgroups(7)).
func groupOf(controller, text string) (path string, ok bool) {
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) == 3 && slices.Contains(strings.Split(fields[1], ","), controller) {
			return fields[2], true
		}
	}
	return "", false
}

// isSeen returns whether a group is visible from this process's cgroup namespace.
func isSeen(path string) bool {
	return filepath.IsAbs(path) && path != "/.." && !strings.HasPrefix(path, "/../")
}

// unbounded returns an error if a group or one above it has limits.
func unbounded(root, path string) error {
	if !isSeen(path) {
		return fmt.Errorf("%w: it is %s, outside of what can be seen here", ErrLimited, path)
	}
	files := limitFiles()
	for path = filepath.Clean(path); path != "/"; path = filepath.Dir(path) {
		for name, free := range files {
			data, err := os.ReadFile(filepath.Join(root, path, name))
			if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
				continue
			}
			if err != nil {
				return err
			}
			said, _, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
			if !slices.Contains(free, said) {
				return fmt.Errorf("%w: %s of %s is %q; the container's would be outside of it", ErrLimited, name, path, said)
			}
		}
	}
	return nil
}
