package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// groups makes files of control groups.
func groups(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		if err := errors.Join(os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o755), os.WriteFile(filepath.Join(root, name), []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestAJobsOwnLimitsCoverWhatIsAskedFor(t *testing.T) {
	const own = "5:cpu,cpuacct:/job/step\n4:memory:/job/step\n3:pids:/\n0::/two/leaf\n"
	memory := func(n string) map[string]string { return map[string]string{"memory.max": n, "memory.swap.max": "0"} }
	for what, c := range map[string]struct {
		files    map[string]string
		settings map[string]string
		want     bool
	}{
		"no limit":                        {nil, memory("1000"), false},
		"as tight":                        {map[string]string{"two/leaf/memory.max": "1000\n"}, memory("1000"), true},
		"tighter, above":                  {map[string]string{"two/memory.max": "999\n", "two/leaf/memory.max": "max\n"}, memory("1000"), true},
		"looser":                          {map[string]string{"two/leaf/memory.max": "1001\n"}, memory("1000"), false},
		"beside":                          {map[string]string{"other/memory.max": "1\n"}, memory("1000"), false},
		"version 1":                       {map[string]string{"memory/job/memory.limit_in_bytes": "900\n", "memory/job/step/memory.limit_in_bytes": "9223372036854771712\n"}, memory("1000"), true},
		"version 1, looser":               {map[string]string{"memory/job/step/memory.limit_in_bytes": "9223372036854771712\n"}, memory("1000"), false},
		"only one of two":                 {map[string]string{"two/leaf/memory.max": "1\n"}, map[string]string{"memory.max": "1000", "pids.max": "10"}, false},
		"both":                            {map[string]string{"two/leaf/memory.max": "1\n", "two/pids.max": "10\n"}, map[string]string{"memory.max": "1000", "pids.max": "10"}, true},
		"processors":                      {map[string]string{"two/leaf/cpu.max": "50000 100000\n"}, map[string]string{"cpu.max": "100000 100000"}, true},
		"more processors":                 {map[string]string{"two/leaf/cpu.max": "200000 100000\n"}, map[string]string{"cpu.max": "100000 100000"}, false},
		"processors of version 1":         {map[string]string{"cpu/job/cpu.cfs_quota_us": "10000\n", "cpu/job/cpu.cfs_period_us": "100000\n", "cpu/job/step/cpu.cfs_quota_us": "-1\n"}, map[string]string{"cpu.max": "100000 100000"}, true},
		"a share":                         {map[string]string{"two/leaf/cpu.weight": "1\n"}, map[string]string{"cpu.weight": "50"}, false},
		"swap alone":                      {map[string]string{"two/leaf/memory.max": "1\n"}, map[string]string{"memory.swap.max": "0"}, false},
		"nothing is asked for":            {map[string]string{"two/leaf/memory.max": "1\n"}, nil, false},
		"version 1, and a group to go to": {map[string]string{"memory/job/memory.limit_in_bytes": "900\n", "memory/job/cgroup.procs": "", "memory/open/cgroup.procs": "+w"}, memory("1000"), false},
		"version 1, and another job":      {map[string]string{"memory/job/memory.limit_in_bytes": "900\n", "memory/job/step/cgroup.procs": "+w", "memory/two/memory.limit_in_bytes": "950\n", "memory/two/step/tasks": "+w"}, memory("1000"), true},
		"version 1, and a larger job":     {map[string]string{"memory/job/memory.limit_in_bytes": "900\n", "memory/two/memory.limit_in_bytes": "1001\n", "memory/two/step/tasks": "+w"}, memory("1000"), false},
		"the root group is nobody's":      {map[string]string{"memory.max": "1\n"}, memory("1000"), false},
	} {
		root := groups(t, c.files)
		for name, text := range c.files {
			if text == "+w" {
				if err := os.Chmod(filepath.Join(root, name), 0o666); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got, err := covered(c.settings, own, root, root, uint32(os.Getuid())); err != nil || got != c.want {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
	// A limit that its owner can raise, or a group that they can leave, covers nothing.
	for what, mode := range map[string]map[string]os.FileMode{"the file": {"two/leaf/memory.max": 0o666}, "the group": {"two/leaf": 0o777}, "one above": {"two": 0o777}} {
		root := groups(t, map[string]string{"two/leaf/memory.max": "1000\n"})
		for name, m := range mode {
			if err := os.Chmod(filepath.Join(root, name), m); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := covered(memory("1000"), own, root, root, uint32(os.Getuid())); err != nil || got {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
	for _, bad := range []string{"", "x", "1 x", "1 0"} {
		root := groups(t, map[string]string{"two/leaf/cpu.max": bad + "\n"})
		if got, err := covered(map[string]string{"cpu.max": "1 1"}, own, root, root, uint32(os.Getuid())); err == nil || got {
			t.Errorf("cpu.max %q: %v, %v", bad, got, err)
		}
	}
}

func TestNobodyIsTakenFromTheirManager(t *testing.T) {
	for group, want := range map[string]bool{
		"/system.slice/slurmstepd.scope/job_1/step_0/user/task_0":         true,
		"/system.slice/condor.service/htcondor/slot1":                     true,
		"/user.slice/user-1000.slice/user@1000.service/app.slice/a.scope": false,
		"/user.slice/user-1000.slice/session-3.scope":                     false,
		"/system.slice/cron.service":                                      false,
		"/":                                                               false,
	} {
		if err := managed(group); errors.Is(err, ErrLimited) != want {
			t.Errorf("%s: %v", group, err)
		}
	}
}
