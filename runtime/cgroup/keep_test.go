package cgroup

import (
	"strings"
	"testing"
)

func TestTheGroupOfAController(t *testing.T) {
	const text = "12:cpu,cpuacct:/a\n7:freezer:/user/1000:odd\n0::/b\n"
	for controller, want := range map[string]string{"freezer": "/user/1000:odd", "cpuacct": "/a", "memory": ""} {
		if got, ok := groupOf(controller, text); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v", controller, got, ok)
		}
	}
}

func TestWhatIsDelegated(t *testing.T) {
	const root = "/sys/fs/cgroup"
	mine := func(prefix string) func(string) bool {
		return func(name string) bool { return strings.HasPrefix(name, root+prefix+"/") }
	}
	for _, c := range []struct {
		path, theirs string
		want         bool
	}{
		{"/", "/user.slice/user-1000.slice/user@1000.service", false},
		{"/user.slice/user-1000.slice/session-1.scope", "/user.slice/user-1000.slice/user@1000.service", false},
		{"/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope", "/user.slice/user-1000.slice/user@1000.service", true},
		{"/theirs", "/theirs", true},
		{"/../elsewhere", "/nothing", true},
		{"/..", "/nothing", true},
		{"relative", "/nothing", true},
	} {
		if got := delegated(root, c.path, mine(c.theirs)); got != c.want {
			t.Errorf("%s, where %s is the caller's: %v, want %v", c.path, c.theirs, got, c.want)
		}
	}
}
