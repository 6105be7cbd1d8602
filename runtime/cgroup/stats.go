package cgroup

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Stats are what a group has used. A value that the kernel or this machine's
// controllers do not provide is nil.
type Stats struct {
	User, System time.Duration
	Memory       *int64 // now, bytes
	MemoryPeak   *int64 // bytes; since Linux 5.19
	Tasks        *int64 // now
	TasksPeak    *int64 // since Linux 6.1
	OOMKills     *int64
	Read         *int64 // bytes from block devices
	Written      *int64
}

// Stats reads what the group has used. Any user may.
func (g *Group) Stats() Stats { return Read(g.path) }

// Read reads the Stats of the group at a path.
func Read(path string) Stats {
	var s Stats
	number := func(name string) *int64 {
		data, err := os.ReadFile(filepath.Join(path, name))
		if err != nil {
			return nil
		}
		return parse(strings.TrimSpace(string(data)))
	}
	s.Memory, s.MemoryPeak = number("memory.current"), number("memory.peak")
	s.Tasks, s.TasksPeak = number("pids.current"), number("pids.peak")
	cpu := pairs(filepath.Join(path, "cpu.stat"))
	if t := cpu["user_usec"]; t != nil {
		s.User = time.Duration(*t) * time.Microsecond
	}
	if t := cpu["system_usec"]; t != nil {
		s.System = time.Duration(*t) * time.Microsecond
	}
	s.OOMKills = pairs(filepath.Join(path, "memory.events"))["oom_kill"]
	s.Read, s.Written = devices(filepath.Join(path, "io.stat"))
	return s
}

func parse(text string) *int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil
	}
	return &n
}

// pairs reads a file of lines "NAME NUMBER".
func pairs(name string) map[string]*int64 {
	data, _ := os.ReadFile(name)
	result := map[string]*int64{}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			result[key] = parse(value)
		}
	}
	return result
}

// devices adds up the lines "MAJOR:MINOR rbytes=N wbytes=N ..." of io.stat.
func devices(name string) (read, written *int64) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, nil
	}
	read, written = new(int64), new(int64)
	for field := range strings.FieldsSeq(string(data)) {
		key, value, _ := strings.Cut(field, "=")
		n := parse(value)
		switch {
		case n == nil:
		case key == "rbytes":
			*read += *n
		case key == "wbytes":
			*written += *n
		}
	}
	return read, written
}
