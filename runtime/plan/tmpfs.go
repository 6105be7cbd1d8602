package plan

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// ParseTmpfs reads DST[:OPTION,...]. Only listed options are accepted, since some
// remove the limits of a tmpfs: the kernel takes size=0 and nr_inodes=0 for no limit,
// and noswap and huge keep memory from being reclaimed.
func ParseTmpfs(text string) (Tmpfs, error) {
	fields, err := splitEscaped(text)
	if err == nil && len(fields) > 2 {
		err = errors.New("want DST[:OPTIONS]")
	}
	if err != nil {
		return Tmpfs{}, fmt.Errorf("--tmpfs %q: %w", text, err)
	}
	destination, err := CleanDestination(fields[0])
	if err != nil {
		return Tmpfs{}, fmt.Errorf("--tmpfs %q: %w", text, err)
	}
	tmpfs := Tmpfs{Destination: destination}
	if len(fields) == 2 {
		tmpfs.Options = strings.Split(fields[1], ",")
	}
	for _, option := range tmpfs.Options {
		if err := checkTmpfsOption(option); err != nil {
			return Tmpfs{}, fmt.Errorf("--tmpfs %q: %w", text, err)
		}
	}
	return tmpfs, nil
}

// tmpfsOptions are the options that a tmpfs may have, for messages; with them
// attributes of the mount.
const tmpfsOptions = "size=64M or size=10%, nr_inodes=10k, mode=0755, uid=ID, gid=ID, ro, noexec, nosymfollow, noatime"

func checkTmpfsOption(option string) error {
	key, value, has := strings.Cut(option, "=")
	var err error
	switch {
	case option == "suid" || option == "dev":
		err = errors.New("it is always nosuid and nodev")
	case has && key == "size", has && key == "nr_inodes":
		_, err = tmpfsAmount(key, value, math.MaxInt64)
	case has && key == "mode":
		if _, bad := strconv.ParseUint(value, 8, 12); bad != nil {
			err = errors.New("want an octal mode, up to 7777")
		}
	case has && (key == "uid" || key == "gid"):
		if _, bad := strconv.ParseUint(value, 10, 31); bad != nil {
			err = fmt.Errorf("want a number from 0 to %d", math.MaxInt32)
		}
	default:
		if !slices.Contains(MountAttributes, option) {
			err = fmt.Errorf("want %s", tmpfsOptions)
		}
	}
	if err != nil {
		return fmt.Errorf("option %q: %w", option, err)
	}
	return nil
}

// tmpfsAmount reads an amount as the kernel does, in decimal digits only. A percentage,
// which is of whole, is for a size only.
func tmpfsAmount(key, value string, whole int64) (int64, error) {
	digits, shift := value, 0
	if percent, is := strings.CutSuffix(value, "%"); is && key == "size" {
		n, err := strconv.ParseUint(percent, 10, 7)
		if err != nil || n == 0 || n > 100 {
			return 0, errors.New("want 1% to 100%")
		}
		return whole / 100 * int64(n), nil
	}
	if i := strings.IndexAny(value, "kKmMgGtT"); i >= 0 && i == len(value)-1 {
		digits, shift = value[:i], 10*(1+strings.IndexByte("kmgt", value[i]|0x20))
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	switch {
	case err != nil || n > math.MaxInt64>>shift:
		return 0, errors.New("want a number, as in 64M")
	case n == 0:
		return 0, errors.New("0 is no limit to the kernel; leave it out for half of the memory")
	}
	return int64(n) << shift, nil
}

// inodeSize is how many bytes of memory the kernel counts for an inode by default:
// nr_inodes is half of the number of pages.
const inodeSize = 4096

// Bounded returns an error for a tmpfs that is larger than the kernel's default: half
// of the machine's memory (in bytes), and an inode for each page of that. It is not
// called for root.
func (t Tmpfs) CheckSize(memory int64) error {
	for _, option := range t.Options {
		key, value, _ := strings.Cut(option, "=")
		most := memory / 2
		switch key {
		case "size":
		case "nr_inodes":
			most /= inodeSize
		default:
			continue
		}
		n, err := tmpfsAmount(key, value, memory)
		if err != nil {
			return fmt.Errorf("--tmpfs %s: option %q: %w", t.Destination, option, err)
		}
		if n > most {
			return fmt.Errorf("--tmpfs %s: option %q is more than half of the machine's memory, which is %d: ask for less", t.Destination, option, most)
		}
	}
	return nil
}
