package plan

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestTheWorkingDirectoryIsTheSameOrBoundOrRefused(t *testing.T) {
	outside := func(f *Facts) { f.Dir = HostDir{Path: "/srv/proj", ID: FileID{3, 4}} }
	for name, c := range map[string]struct {
		change  func(*Facts)
		request Request
		cwd     string
		bound   bool
		refused string
	}{
		"it is inside":         {func(*Facts) {}, Request{}, "/home/dev/src", false, ""},
		"it is inside renamed": {func(f *Facts) { outside(f); f.Dir.Inside = []string{"/mnt/p"} }, Request{}, "/mnt/p", false, ""},
		"it is bound":          {outside, Request{}, "/srv/proj", true, ""},
		"the root directory":   {func(f *Facts) { f.Dir = HostDir{Path: "/"} }, Request{}, "/", false, ""},
		"asked for":            {outside, Request{Dir: "/x"}, "/x", false, ""},
		"no bind is allowed":   {func(f *Facts) { outside(f); f.Policy.AllowBind = nil }, Request{}, "", false, "allow-bind"},
		"not there":            {func(f *Facts) { outside(f); f.Policy.AllowBind = []string{"/data"} }, Request{}, "", false, "allow-bind"},
		"the policy says no":   {func(f *Facts) { outside(f); f.Policy.BindCwd = false }, Request{}, "", false, "bind-cwd"},
		"it cannot be bound":   {func(f *Facts) { outside(f); f.Dir.Err = errors.New("in /proc") }, Request{}, "", false, "in /proc"},
		"the image has some":   {func(f *Facts) { outside(f); f.DirHides = true }, Request{}, "", false, "--bind"},
		"in a home that comes": {func(f *Facts) {
			outside(f)
			f.HomeName, f.Home = "/srv", HostDir{Path: "/srv"}
			f.Caller.Env = append(f.Caller.Env, "HOME=/srv")
		}, Request{}, "/srv/proj", false, ""},
		"it has no name":        {func(f *Facts) { f.Dir = HostDir{}; f.Caller.DirErr = errors.New("removed") }, Request{}, "", false, "removed"},
		"for another user":      {func(f *Facts) { outside(f); f.Caller.UID = 0; f.Policy.Unbound = true }, Request{}, "", false, "another user"},
		"for a change of image": {func(f *Facts) { outside(f); f.Caller.UID, f.User.UID = 0, 0 }, Request{NoEphemeral: true}, "", false, "changed"},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts()
			c.change(&f)
			c.request.Image, c.request.Command = "i", []string{"true"}
			p, err := New(c.request, f)
			if c.refused != "" {
				if err == nil || !strings.Contains(err.Error(), c.refused) || !strings.Contains(err.Error(), "--chdir") {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if p.Spec.Process.Cwd != c.cwd || slices.Contains(p.CallerBinds, "/srv/proj") != c.bound || !p.DirRequired {
				t.Errorf("%q, binds %q", p.Spec.Process.Cwd, p.CallerBinds)
			}
		})
	}
}

func TestOnlyALoginShellStartsInTheHome(t *testing.T) {
	f := facts()
	f.Dir, f.Policy.BindCwd = HostDir{Path: "/srv/proj"}, false
	p := plan(t, Request{Image: "i", Login: true}, f)
	if p.Spec.Process.Cwd != "/home/dev" || len(p.Warnings) != 1 || p.DirRequired {
		t.Errorf("%q, %q", p.Spec.Process.Cwd, p.Warnings)
	}
	if _, err := New(Request{Image: "i", Login: true, Command: []string{"make"}}, f); err == nil {
		t.Error("a command of the login shell starts elsewhere")
	}
}

func TestHomeNamesWhatIsThere(t *testing.T) {
	home := func(name, path string, link bool, inside ...string) func(*Facts) {
		return func(f *Facts) {
			f.HomeName, f.HomeLink = name, link
			f.Home = HostDir{Path: path, Inside: inside}
		}
	}
	for name, c := range map[string]struct {
		change func(*Facts)
		value  string
		bind   string
		note   bool
	}{
		"inside":               {home("/home/dev", "/home/dev", false, "/home/dev"), "/home/dev", "", false},
		"elsewhere":            {home("/var/lib/ci", "/var/lib/ci", false), "/var/lib/ci", "/var/lib/ci", false},
		"a link that is there": {home("/home/dev", "/data/dev", true), "/home/dev", "/data/dev", false},
		"a link that is not":   {home("/ci", "/data/ci", false), "/data/ci", "/data/ci", false},
		"by another name":      {home("/ci", "/data/ci", false, "/mnt/ci"), "/mnt/ci", "", false},
		"nowhere":              {home("/nonexistent", "", false), "/tmp", "", true},
		"not to be bound": {func(f *Facts) { home("/var/lib/ci", "/var/lib/ci", false)(f); f.Policy.BindHome = false },
			"/tmp", "", true},
		"in the image's way": {func(f *Facts) { home("/bin", "/bin", false)(f); f.HomeHides, f.HomeInImage = true, true }, "/bin", "", false},
		"the container's":    {func(f *Facts) { home("/tmp", "/tmp", false)(f); f.HomeIsOurs = true }, "/tmp", "", false},
		"the image's":        {func(f *Facts) { home("/srv/ci", "", false)(f); f.HomeInImage = true }, "/srv/ci", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts()
			c.change(&f)
			if name := f.HomeName; name != "" {
				f.Caller.Env = append(f.Caller.Env, "HOME="+name)
			}
			p := plan(t, Request{Image: "i", Command: []string{"true"}}, f)
			if got := Value(p.Spec.Process.Env, "HOME"); got != c.value || (len(p.Notes) > 0) != c.note {
				t.Errorf("HOME=%s, %q", got, p.Notes)
			}
			if (c.bind != "") != slices.Contains(p.CallerBinds, c.bind) {
				t.Errorf("binds %q", p.CallerBinds)
			}
		})
	}
}
