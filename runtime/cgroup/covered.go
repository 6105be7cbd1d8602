package cgroup

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/runtime/internal/file"
)

// hierarchies is where control groups are mounted: version 2, or a directory for each
// controller of version 1.
const hierarchies = "/sys/fs/cgroup"

// Covered returns whether the caller's own control group, or one above it, has limits
// that are as tight as the settings, or tighter, and that the caller cannot raise. A
// batch system's job has such a group. The thread must act on files as root.
//
// A limit of memory covers that of swap, too: how much of it a job may have is for the
// batch system to say. A share of processors or disks is not covered by any limit.
func Covered(settings map[string]string) (bool, error) {
	text, err := os.ReadFile(ownGroups)
	if err != nil {
		return false, err
	}
	root, err := Hierarchy()
	if errors.Is(err, ErrMissing) {
		root, err = hierarchies, nil
	}
	if err != nil {
		return false, err
	}
	return covered(settings, string(text), root, hierarchies, 0)
}

// A limit is where a setting is in the files of both versions.
type limit struct {
	controller string
	v1, v2     func(dir string) (float64, error)
	fileV1     string
}

// limitsOf returns the settings that an outer group can cover.
func limitsOf() map[string]limit {
	return map[string]limit{
		"memory.max": {"memory", amountIn("memory.limit_in_bytes"), amountIn("memory.max"), "memory.limit_in_bytes"},
		"pids.max":   {"pids", amountIn("pids.max"), amountIn("pids.max"), "pids.max"},
		"cpu.max":    {"cpu", quotaV1, quota, "cpu.cfs_quota_us"},
	}
}

// covered is Covered by the text of /proc/self/cgroup, for groups at root (version 2)
// and below v1. owner is who limits the groups of others, root.
func covered(settings map[string]string, text, root, v1 string, owner uint32) (bool, error) {
	known := limitsOf()
	for name, value := range settings {
		if _, bounded := settings["memory.max"]; bounded && name == "memory.swap.max" {
			continue
		}
		l, ok := known[name]
		if !ok {
			return false, nil
		}
		asked, err := parseLimit(name, value)
		if err != nil {
			return false, err
		}
		tight := false
		if own, ok := groupOf("", text); ok {
			tight, err = within(root, own, name, asked, owner, l.v2)
		}
		if own, ok := groupOf(l.controller, text); err == nil && !tight && ok {
			top := filepath.Join(v1, l.controller)
			if tight, err = within(top, own, l.fileV1, asked, owner, l.v1); tight && err == nil {
				tight, err = l.closed(top, asked, owner)
			}
		}
		if err != nil || !tight {
			return false, err
		}
	}
	return len(settings) > 0, nil
}

func parseLimit(name, value string) (float64, error) {
	if name == "cpu.max" {
		return parseQuota(value)
	}
	return parseAmount(value)
}

// within returns whether a group, or one above it, has a limit of at most what was
// asked for. Only limits count that nobody but the owner can change, in groups that
// nobody else can leave.
func within(root, group, name string, asked float64, owner uint32, read func(dir string) (float64, error)) (bool, error) {
	if !isSeen(group) {
		return false, nil
	}
	for group = filepath.Clean(group); group != "/"; group = filepath.Dir(group) {
		dir := filepath.Join(root, group)
		has, err := read(dir)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			continue
		}
		if err != nil {
			return false, err
		}
		if has <= asked && rootsAlone(root, dir, owner) == nil && ownersFile(filepath.Join(dir, name), owner) == nil {
			return true, nil
		}
	}
	return false, nil
}

// closed returns whether a caller stays bounded, wherever they move their processes: in a
// hierarchy of version 1 they may move them to every group that they may write to. Each
// group to which anybody but the owner may write must be bounded, too.
func (l limit) closed(top string, asked float64, owner uint32) (bool, error) {
	groups := 0
	open := errors.New("a group is open, or there are too many to look at")
	err := filepath.WalkDir(top, func(name string, entry os.DirEntry, err error) error {
		base := filepath.Base(name)
		switch {
		case errors.Is(err, os.ErrNotExist): // it has gone meanwhile
			return nil
		case err != nil:
			return err
		case entry.IsDir():
			if groups++; groups > mostGroups {
				return open
			}
		case base != "cgroup.procs" && base != "tasks":
			return nil
		}
		if err = ownersFile(name, owner); err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		group := strings.TrimPrefix(name, top)
		if !entry.IsDir() {
			group = filepath.Dir(group)
		}
		bounded, err := within(top, group, l.fileV1, asked, owner, l.v1)
		if err == nil && !bounded {
			err = open
		}
		return err
	})
	if err == open {
		return false, nil
	}
	return err == nil, err
}

// mostGroups bounds how many groups closed looks at.
const mostGroups = 10_000

// ownersFile returns an error if anybody but the owner can write to a file.
func ownersFile(name string, owner uint32) error {
	fd, err := unix.Open(name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return file.OwnedBy(fd, owner)
}

func amountIn(name string) func(dir string) (float64, error) {
	return func(dir string) (float64, error) {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return 0, err
		}
		return parseAmount(strings.TrimSpace(string(text)))
	}
}

func parseAmount(text string) (float64, error) {
	if text == "max" {
		return math.Inf(1), nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	return float64(n), err
}

// quota reads cpu.max as a number of processors.
func quota(dir string) (float64, error) {
	text, err := os.ReadFile(filepath.Join(dir, "cpu.max"))
	if err != nil {
		return 0, err
	}
	return parseQuota(strings.TrimSpace(string(text)))
}

func parseQuota(text string) (float64, error) {
	quota, period, _ := strings.Cut(text, " ")
	most, err := parseAmount(quota)
	if err != nil {
		return 0, err
	}
	each, err := parseAmount(period)
	if err != nil || each == 0 {
		return 0, errors.Join(fmt.Errorf("cpu.max is %q", text), err)
	}
	return most / each, nil
}

// quotaV1 reads the quota of version 1, which is -1 for none.
func quotaV1(dir string) (float64, error) {
	text, err := os.ReadFile(filepath.Join(dir, "cpu.cfs_quota_us"))
	if err != nil || strings.HasPrefix(string(text), "-") {
		return math.Inf(1), err
	}
	period, err := os.ReadFile(filepath.Join(dir, "cpu.cfs_period_us"))
	if err != nil {
		return 0, err
	}
	return parseQuota(strings.TrimSpace(string(text)) + " " + strings.TrimSpace(string(period)))
}

// managed returns an error if a process's group is one of those that a batch system or
// another manager makes below a unit of systemd's. The manager does not bound or end a
// process that leaves such a group. Groups of users' slices are those of
// sessions.
func managed(group string) error {
	if strings.HasPrefix(group, "/user.slice/") {
		return nil
	}
	above, _ := filepath.Split(group)
	for _, part := range strings.Split(above, "/") {
		if strings.HasSuffix(part, ".service") || strings.HasSuffix(part, ".scope") {
			return fmt.Errorf("%w: it is %s, which is made and ended by %s: leave the limits to that", ErrLimited, group, part)
		}
	}
	return nil
}
