package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestNobodyIsTakenOutOfBounds(t *testing.T) {
	for what, c := range map[string]struct {
		files   map[string]string
		bounded bool
	}{
		"nothing":       {nil, false},
		"all free":      {map[string]string{"a/memory.max": "max\n", "a/b/pids.max": "max\n", "a/b/cpu.max": "max 100000\n", "a/io.max": "", "a/cpuset.cpus": "\n", "a/cgroup.freeze": "0\n", "a/cpu.weight": "100\n"}, false},
		"itself":        {map[string]string{"a/b/memory.max": "1000\n"}, true},
		"above":         {map[string]string{"a/pids.max": "20\n", "a/b/pids.max": "max\n"}, true},
		"processors":    {map[string]string{"a/cpu.max": "50000 100000\n"}, true},
		"which of them": {map[string]string{"a/cpuset.cpus": "0-1\n"}, true},
		"frozen":        {map[string]string{"a/cgroup.freeze": "1\n"}, true},
		"disks":         {map[string]string{"a/b/io.max": "8:0 rbps=1000\n"}, true},
		"beside":        {map[string]string{"x/memory.max": "1000\n"}, false},
	} {
		root := t.TempDir()
		for name, text := range c.files {
			if err := os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := unbounded(root, "/a/b"); errors.Is(err, ErrLimited) != c.bounded || err != nil && !c.bounded {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, outside := range []string{"/..", "/../x", ""} {
		if err := unbounded(t.TempDir(), outside); !errors.Is(err, ErrLimited) {
			t.Errorf("%q: %v", outside, err)
		}
	}
	if err := unbounded(t.TempDir(), "/"); err != nil {
		t.Error(err)
	}
}

func TestWhatSystemdSaysThatIsOverInAMoment(t *testing.T) {
	for said, want := range map[string]bool{
		"Call failed: Unit mayfly-1000-a.scope was already loaded or has a fragment file.":                                                                       true,
		"Call failed: Transaction for mayfly-1000-a.scope/start is destructive (user-1000.slice has 'stop' job queued, but 'start' is included in transaction).": true,
		"Call failed: Access denied": false,
		"":                           false,
	} {
		if passes(said) != want {
			t.Errorf("%q: %v", said, !want)
		}
	}
}
