package plan

import (
	"path"
	"strings"
	"testing"

	"mayfly/runtime/caller"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/user/passwd"
)

// absolute tells whether a path is one that a plan may have: absolute, clean, without
// NUL.
func absolute(name string) bool {
	return path.IsAbs(name) && path.Clean(name) == name && !strings.Contains(name, "\x00")
}

func FuzzParseBind(f *testing.F) {
	f.Add("/src", "/home/dev", true)
	f.Add(`a\:b:/dst/../x`, "/", false)
	f.Add("/a:/proc//self", "/x\\", false)
	for _, seed := range []string{"/a", `\`, `/a\::/b`, ":", "/a:/..", "/a:/proc/../x"} {
		f.Add(seed, "/work", false)
	}
	f.Fuzz(func(t *testing.T, text, dir string, readOnly bool) {
		if !absolute(dir) {
			dir = "/"
		}
		b, err := ParseBind(text, dir, readOnly)
		if err != nil {
			return
		}
		if !absolute(b.Source) || !absolute(b.Destination) || b.Destination == "/" || OnScratch(b.Destination) || b.ReadOnly != readOnly {
			t.Errorf("%q is %+v", text, b)
		}
	})
}

func FuzzParseTmpfs(f *testing.F) {
	f.Add("/mnt:size=1m,mode=0700")
	f.Add(`/a\:b:`)
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ParseTmpfs(text)
		if err == nil && (!absolute(m.Destination) || m.Destination == "/" || OnScratch(m.Destination)) {
			t.Errorf("%q is %+v", text, m)
		}
		for _, option := range m.Options {
			if key, value, _ := strings.Cut(option, "="); (key == "size" || key == "nr_inodes") && strings.Trim(value, "0kKmMgGtT%") == "" {
				t.Errorf("%q is no bound", text)
			}
		}
	})
}

// FuzzNames plans with whatever is given for a name: what is accepted is a file name
// and a host name that say nothing to a shell or a terminal.
func FuzzNames(f *testing.F) {
	f.Add("deb12-i386", "", "")
	f.Add("deb12_i386.new", "a_name", "host.example")
	f.Add(strings.Repeat("x", 64), ".hidden", "-x")
	f.Fuzz(func(t *testing.T, image, container, hostname string) {
		p, err := New(Request{Image: image, Name: container, Hostname: hostname, Command: []string{"true"}}, facts())
		if err != nil {
			return
		}
		const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
		for _, name := range []string{p.Root.Image, p.Container} {
			if name == "" || len(name) > 64 || strings.Trim(name, letters+"._-") != "" || !strings.Contains(letters, name[:1]) {
				t.Errorf("name %q", name)
			}
		}
		if h := p.Spec.Hostname; h == "" || len(h) > 64 || strings.Trim(h, letters+".-") != "" || strings.Contains(h, "..") {
			t.Errorf("hostname %q", h)
		}
		if path.Dir(p.Path()) != p.Root.Store+"/.mayfly" {
			t.Errorf("path %q", p.Path())
		}
	})
}

func FuzzEnvironment(f *testing.F) {
	f.Add("TERM=xterm\x01SECRET=1\x01=x\x01HOME", "A=b\x01TERM", "TERM\x01LC_*", false)
	f.Add("A=1\x01A=2", "A", "*", true)
	f.Fuzz(func(t *testing.T, env, asked, pass string, all bool) {
		caller := caller.Caller{UID: 1000, Env: strings.Split(env, "\x01")}
		rule := rule.Rule{Env: strings.Split(pass, "\x01")}
		r := Request{EnvAll: all}
		if asked != "" {
			r.Env = strings.Split(asked, "\x01")
		}
		list, err := Environment(r, nil, caller, rule.Passes, passwd.Entry{Name: "dev", UID: 1000, Home: "/home/dev", Shell: "/bin/sh"})
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, entry := range list {
			name, _, ok := strings.Cut(entry, "=")
			if !ok || name == "" || seen[name] {
				t.Errorf("entry %q", entry)
			}
			seen[name] = true
			if strings.Contains(entry, "\x00") && !strings.Contains(env, "\x00") {
				t.Errorf("NUL in %q", entry)
			}
		}
		for _, name := range []string{"PATH", "HOME", "USER"} {
			if !seen[name] {
				t.Errorf("no %s", name)
			}
		}
	})
}
