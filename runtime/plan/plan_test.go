package plan

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/personality/arch"
	"mayfly/runtime/caller"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/user/passwd"
)

// facts are those of an ordinary caller on an amd64 host with an i386 image.
func facts() Facts {
	host, _ := arch.ByName("x86-64")
	image, _ := arch.ByName("x86")
	return Facts{
		Caller: caller.Caller{UID: 1000, GID: 1000, Groups: []uint32{1000, 50}, Dir: "/home/dev/src",
			Env: []string{"TERM=xterm", "LC_ALL=C", "SECRET=1", "HOME=/home/dev", "PATH=/evil"}},
		Policy: ordinary(), Host: host, Image: image, Root: "/var/lib/machines/deb12-i386", NeedsSnapshot: true,
		User:    passwd.Entry{Name: "dev", UID: 1000, GID: 1000, Home: "/home/dev", Shell: "/bin/bash"},
		Groups:  []uint32{1000, 50},
		Present: map[string]bool{"/etc/passwd": true, "/etc/group": true, "/home": true, "/etc/resolv.conf": true},
		Dir:     HostDir{Path: "/home/dev/src", ID: FileID{1, 2}, Inside: []string{"/home/dev/src"}},
		Hosts:   "127.0.0.1 localhost", RandomDigits: "0123456789abcdef", DiskDigits: "fedcba9876543210",
	}
}

// ordinary is a rule that allows what gives a caller nothing.
func ordinary() rule.Decision {
	return rule.Decision{Settings: rule.Settings{Store: rule.DefaultStore}, Rule: rule.Rule{
		BindReadOnly: []string{"/etc/passwd", "/etc/group", "/opt"}, Bind: []string{"/home"},
		Env: []string{"TERM", "LC_*", "HOME"}, Network: []string{"host"}, EnvAll: true, Writable: true, AllowBind: []string{"/"},
		BindCwd: true, BindHome: true,
	}}
}

func plan(t *testing.T, r Request, f Facts) *Plan {
	t.Helper()
	p, err := New(r, f)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// rooted are the facts of a caller who may be root inside.
func rooted() Facts {
	f := facts()
	f.Policy.RootInside = true
	f.RootInside = &RootInside{UIDs: passwd.Range{First: 100000, Count: 65536}, GIDs: passwd.Range{First: 200000, Count: 65536},
		Root:    passwd.Entry{Name: "root", Home: "/root", Shell: "/bin/bash"},
		Lines:   map[string]string{"/etc/passwd": "dev:*:1000:1000::/home/dev:/bin/bash\n"},
		Content: map[string]string{"/etc/passwd": "root...\ndev:*:1000:1000::/home/dev:/bin/bash\n"}}
	return f
}

func TestPlanOfRootInside(t *testing.T) {
	p := plan(t, Request{Image: "deb12-i386", Command: []string{"make"}, RootInside: true}, rooted())
	if u := p.Spec.Process.User; u.UID != 0 || u.GID != 0 || p.SetIDs || len(p.Root.Append) != 0 || p.Spec.Process.Cwd != "/home/dev/src" {
		t.Errorf("%+v", p)
	}
	if i := slices.IndexFunc(p.Files, func(f File) bool { return f.Path == "/etc/passwd" }); i < 0 || !strings.HasPrefix(p.Files[i].Content, "root") {
		t.Errorf("%+v", p.Files)
	}
	for _, m := range p.Spec.Mounts {
		if m.Source == "/etc/passwd" || m.Source == "/etc/group" {
			t.Errorf("the host's %s", m.Source)
		}
		if m.Type == "devpts" && (!slices.Contains(m.Options, "uid=100000") || !slices.Contains(m.Options, "gid=200005")) {
			t.Errorf("%+v", m)
		}
	}
	if p := plan(t, Request{Image: "deb12-i386", RootInside: true, Writable: true}, rooted()); len(p.Root.Append) != 1 || p.Spec.Process.Args[0] != "/bin/bash" {
		t.Errorf("%+v", p)
	}
	f := rooted()
	f.Policy.RootInside = false
	if _, err := New(Request{Image: "deb12-i386", RootInside: true}, f); !errors.Is(err, rule.ErrDenied) {
		t.Errorf("%v", err)
	}
	f = rooted()
	f.User.UID, f.Caller.UID = 100001, 100001
	if _, err := New(Request{Image: "deb12-i386", RootInside: true}, f); !errors.Is(err, passwd.ErrNoRange) {
		t.Errorf("one's own id among the subordinate ones: %v", err)
	}
}

// Every id inside is somebody's, nobody's twice, and never root's.
func TestIDMappings(t *testing.T) {
	for _, own := range []uint32{0, 1, 1000, 65534, 65535, 65536, 1 << 20} {
		list := IdMappings(own, 3000000)
		seen := map[uint32]bool{}
		for inside := range uint32(RootIDs) {
			id := onHost(list, inside)
			if own != 0 && inside == own && id != own || inside != own && id != 3000000+inside || seen[id] || id == 0 {
				t.Fatalf("own %d: %d is %d", own, inside, id)
			}
			seen[id] = true
		}
		if own != 0 && onHost(list, own) != own {
			t.Errorf("own %d is %d", own, onHost(list, own))
		}
	}
}

// A package manager puts new files in the place of old ones, which nothing may be
// mounted on.
func TestFilesOfEtcAreNoMountsWhereTheyCanBeReplaced(t *testing.T) {
	f := facts()
	f.Present["/etc/localtime"] = true
	f.Zone, f.Resolv = zone{Name: "Europe/Berlin", InImage: "Etc/UTC"}, "nameserver 1.2.3.4\n"
	mounted := []string{"/etc/resolv.conf", "/etc/localtime", "/etc/hosts", "/etc/hostname", "/etc/timezone"}
	for _, r := range []Request{{Image: "i", Command: []string{"x"}}, {Image: "i", Command: []string{"x"}, Writable: true}} {
		p := plan(t, r, f)
		var mounts, replaced []string
		for _, name := range mounted {
			at := func(o File) bool { return o.Path == name }
			if mountOn(&p.Spec, name) != nil || slices.ContainsFunc(p.Files, at) {
				mounts = append(mounts, name)
			}
			if slices.ContainsFunc(p.Root.Replace, at) {
				replaced = append(replaced, name)
			}
		}
		if r.Writable && (len(mounts) != 0 || len(replaced) != 5) || !r.Writable && (len(mounts) != 5 || len(replaced) != 0) {
			t.Errorf("writable %v: mounts %q, files %q", r.Writable, mounts, replaced)
		}
	}
	p := plan(t, Request{Image: "i", Command: []string{"x"}, Writable: true}, f)
	if i := slices.IndexFunc(p.Root.Replace, func(o File) bool { return o.Path == "/etc/localtime" }); p.Root.Replace[i].Link != "/usr/share/zoneinfo/Europe/Berlin" {
		t.Errorf("%+v", p.Root.Replace[i])
	}
	p = plan(t, Request{Image: "i", Command: []string{"x"}, Writable: true, Binds: []Bind{{"/x", "/etc/hosts", true}}}, f)
	if slices.ContainsFunc(p.Root.Replace, func(o File) bool { return o.Path == "/etc/hosts" }) {
		t.Error("a bind of the caller's is over a file")
	}
}

// Root and the caller change places, and nobody else does.
func TestIDMappingsWhereRootIsTheCaller(t *testing.T) {
	for _, own := range []uint32{1, 2, 1000, 65534, 65535, 65536, 1 << 20} {
		plain, list := IdMappings(own, 3000000), swappedMappings(own, 3000000)
		seen := map[uint32]bool{}
		for inside := range uint32(RootIDs) {
			want := onHost(plain, inside)
			switch inside {
			case 0:
				want = own
			case own:
				want = 3000000
			}
			id := onHost(list, inside)
			if id != want || seen[id] || id == 0 {
				t.Fatalf("own %d: %d is %d, want %d", own, inside, id, want)
			}
			seen[id] = true
		}
		if onHost(list, own) != 3000000 {
			t.Errorf("own %d is %d", own, onHost(list, own))
		}
		for _, m := range list {
			if m.Size == 0 {
				t.Errorf("own %d: %v", own, list)
			}
		}
	}
}

func TestPlanOfRootWhoIsTheCaller(t *testing.T) {
	f := rooted()
	f.RootInside.IsCaller, f.RootInside.Lines, f.RootInside.Content = true, nil, nil
	r := Request{Image: "deb12-i386", Command: []string{"make"}, RootInside: true, RootIsCaller: true}
	p := plan(t, r, f)
	if uid, gid := p.RootOnHost(); uid != 1000 || gid != 1000 || Value(p.Spec.Process.Env, "MAYFLY_USER") != "root" || Value(p.Spec.Process.Env, "SUDO_UID") != "" {
		t.Errorf("%d:%d %+v", uid, gid, p.Spec.Process)
	}
	f.Caller.UID = 0
	if _, err := New(r, f); err == nil {
		t.Error("root inside is root of the host")
	}
	f = rooted()
	f.Rootless = true
	if _, err := New(r, f); !errors.Is(err, caller.ErrNoGrant) {
		t.Errorf("without a grant: %v", err)
	}
}

func TestPlanOfAnOrdinaryRun(t *testing.T) {
	p := plan(t, Request{Image: "deb12-i386", Command: []string{"make", "all"}}, facts())
	if p.Container != "deb12-i386-0123456789abcdef" || p.Spec.Hostname != p.Container || p.Root.Kind != RootSnapshot || !p.Spec.Root.Readonly || p.SetIDs {
		t.Errorf("%+v", p)
	}
	if len(p.Spec.Process.Capabilities.Bounding) != 0 || !p.Spec.Process.NoNewPrivileges || p.Spec.Process.Cwd != "/home/dev/src" {
		t.Errorf("%+v", p.Spec.Process)
	}
	if p.Spec.Linux.Personality == nil || p.Spec.Linux.Personality.Domain != "LINUX32" {
		t.Error("an i386 image on amd64 needs the 32-bit personality")
	}
	for destination, option := range map[string]string{"/etc/passwd": "ro", "/home": "nosuid", "/tmp": "nodev", "/proc": "noexec"} {
		found := false
		for _, m := range p.Spec.Mounts {
			found = found || m.Destination == destination && slices.Contains(m.Options, option)
		}
		if !found {
			t.Errorf("no mount on %s with %s", destination, option)
		}
	}
	for _, m := range p.Spec.Mounts {
		if m.Destination == "/opt" {
			t.Error("a bind whose source the host does not have is in the plan")
		}
	}
	want := []string{"PATH=" + searchPath, "container=mayfly", "USER=dev", "LOGNAME=dev", "HOME=/home/dev", "SHELL=/bin/bash", "XDG_RUNTIME_DIR=/run/user/1000", "TERM=xterm", "LC_ALL=C",
		"MAYFLY_IMAGE=deb12-i386", "MAYFLY_CONTAINER=deb12-i386-0123456789abcdef"}
	if !slices.Equal(p.Spec.Process.Env, want) {
		t.Errorf("environment %q", p.Spec.Process.Env)
	}
}

// An image's configuration can say no more than what is left open.
func TestTheImagesEnvironmentIsTheBase(t *testing.T) {
	f := facts()
	f.ImageEnv = []string{"PATH=/image", "A=image", "B=image", "TERM=image", "HOME=/image", "container=docker"}
	p := plan(t, Request{Image: "i", Command: []string{"x"}, Env: []string{"B=call"}}, f)
	want := []string{"PATH=/image", "A=image", "B=call", "TERM=xterm", "HOME=/home/dev", "container=mayfly",
		"USER=dev", "LOGNAME=dev", "SHELL=/bin/bash", "XDG_RUNTIME_DIR=/run/user/1000", "LC_ALL=C",
		"MAYFLY_IMAGE=i", "MAYFLY_CONTAINER=i-0123456789abcdef"}
	if !slices.Equal(p.Spec.Process.Env, want) {
		t.Errorf("environment %q", p.Spec.Process.Env)
	}
}

// A shell's prompt has the host name.
func TestAShellHasAShortHostName(t *testing.T) {
	for _, c := range []struct {
		r    Request
		want string
	}{
		{Request{Image: "deb_12@3", Login: true}, "deb-12"},
		{Request{Image: "deb12", Login: true, Name: "mine"}, "mine"},
		{Request{Image: "deb12", Login: true, Hostname: "x.y"}, "x.y"},
		{Request{Image: "deb12", Command: []string{"x"}}, "deb12-0123456789abcdef"},
	} {
		if p := plan(t, c.r, facts()); p.Spec.Hostname != c.want {
			t.Errorf("%+v: %s", c.r, p.Spec.Hostname)
		}
	}
}

func TestOnlyRootMay(t *testing.T) {
	for what, change := range map[string]func(*Request, *Facts){
		"maintain an image":  func(r *Request, _ *Facts) { r.NoEphemeral = true },
		"choose a store":     func(r *Request, _ *Facts) { r.Store = "/elsewhere" },
		"be somebody else":   func(_ *Request, f *Facts) { f.User.UID = 1001 },
		"be root by a trick": func(_ *Request, f *Facts) { f.User.UID = 0 },
	} {
		r, f := Request{Image: "i", Command: []string{"true"}}, facts()
		change(&r, &f)
		if _, err := New(r, f); !errors.Is(err, caller.ErrNotPermitted) {
			t.Errorf("%s: %v", what, err)
		}
		f.Caller.UID = 0
		if _, err := New(r, f); err != nil {
			t.Errorf("root may not %s: %v", what, err)
		}
	}
}

func TestCapabilitiesOnlyForMaintenanceByRoot(t *testing.T) {
	f := facts()
	f.Caller.UID, f.User.UID = 0, 0
	if p := plan(t, Request{Image: "i", Command: []string{"true"}}, f); len(p.Spec.Process.Capabilities.Bounding) != 0 {
		t.Error("root keeps capabilities in a throw-away container")
	}
	p := plan(t, Request{Image: "i", Command: []string{"true"}, NoEphemeral: true}, f)
	if c := p.Spec.Process.Capabilities; len(c.Bounding) == 0 || slices.Contains(c.Bounding, "CAP_SYS_ADMIN") {
		t.Errorf("maintenance keeps %v; want some, and not CAP_SYS_ADMIN", c.Bounding)
	}
}

func TestLoginShell(t *testing.T) {
	p := plan(t, Request{Image: "i"}, facts())
	if p.Spec.Process.Args[0] != "/bin/bash" || !p.Login || p.Fallback[0] != "/bin/sh" {
		t.Errorf("%+v %v %v", p.Spec.Process.Args, p.Login, p.Fallback)
	}
	f := facts()
	f.User.Shell = "/usr/bin/fish"
	p = plan(t, Request{Image: "i", Command: []string{"make", "a b"}, Login: true}, f)
	if want := []string{"/bin/sh", "-c", `exec "$0" "$@"`, "make", "a b"}; !slices.Equal(p.Spec.Process.Args, want) {
		t.Errorf("%q", p.Spec.Process.Args)
	}
}

func TestARequestsBindTakesADefaultsPlace(t *testing.T) {
	r := Request{Image: "i", Command: []string{"true"}, Binds: []Bind{{"/srv/home", "/home", true}}}
	p := plan(t, r, facts())
	count := 0
	for _, m := range p.Spec.Mounts {
		if m.Destination == "/home" {
			count++
			if m.Source != "/srv/home" || !slices.Contains(m.Options, "ro") {
				t.Errorf("%+v", m)
			}
		}
	}
	if count != 1 || !slices.Equal(p.CallerBinds, []string{"/home"}) {
		t.Errorf("%d mounts on /home, the caller's are %v", count, p.CallerBinds)
	}
	r.Binds = append(r.Binds, Bind{"/x", "/home", true})
	if _, err := New(r, facts()); err == nil {
		t.Error("two binds on one place are accepted")
	}
}

// destinations are those of the plan's mounts from a first one on.
func destinations(p *Plan, first string) (list []string) {
	for _, m := range p.Spec.Mounts {
		if m.Destination == first || list != nil {
			list = append(list, m.Destination)
		}
	}
	return list
}

func TestWhatIsInAnotherIsMountedAfterIt(t *testing.T) {
	f := facts()
	f.Policy.BindReadOnly, f.Policy.Bind = []string{"/home/shared", "/opt"}, []string{"/home"}
	for _, name := range append(f.Policy.BindReadOnly, "/etc/resolv.conf") {
		f.Present[name] = true
	}
	p := plan(t, Request{Image: "i", Command: []string{"true"}, Binds: []Bind{{"/a", "/m/in/side", false}, {"/b", "/m", true}, {"/c", "/home", true}, {"/d", "/z", true}},
		Tmpfs: []Tmpfs{{"/m/in", nil}, {"/opt/x", nil}}}, f)
	want := []string{"/opt", "/home/shared", "/etc/resolv.conf", "/m", "/home", "/z", "/m/in", "/opt/x", "/m/in/side"}
	if got := destinations(p, "/opt"); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, r := range []Request{{Tmpfs: []Tmpfs{{"/x", nil}, {"/x", nil}}}, {Tmpfs: []Tmpfs{{"/x", nil}}, Binds: []Bind{{"/a", "/x", true}}}} {
		r.Image, r.Command = "i", []string{"true"}
		if _, err := New(r, f); err == nil || !strings.Contains(err.Error(), "two mounts on /x") {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

func TestThePersonalityIsTheImagesWhateverTheCallersIs(t *testing.T) {
	arch := func(name string) arch.Architecture {
		a, _ := arch.ByName(name) // none: the image tells none
		return a
	}
	for _, c := range []struct {
		image, asked, policy string
		want                 specs.LinuxPersonalityDomain
	}{
		{"x86", "", "", specs.PerLinux32}, {"x86-64", "", "", specs.PerLinux}, {"", "", "", specs.PerLinux}, {"arm", "", "", specs.PerLinux},
		{"x86", "x86-64", "", specs.PerLinux}, {"x86-64", "x86", "", specs.PerLinux32}, {"x86-64", "", "x86", specs.PerLinux32},
	} {
		f := facts()
		f.Image, f.Policy.Personality = arch(c.image), c.policy
		p := plan(t, Request{Image: "i", Command: []string{"true"}, Personality: c.asked}, f)
		if got := p.Spec.Linux.Personality; got == nil || got.Domain != c.want || len(got.Flags) != 0 {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

func TestHostnames(t *testing.T) {
	for name, good := range map[string]bool{"a": true, "a.b-c": true, "A9": true, "": false, "-a": false, "a-": false,
		"a..b": false, "a_b": false, "a b": false, "ä": false, strings.Repeat("a", 64): false, strings.Repeat("a", 63): true} {
		if err := checkHostname(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestWhatTheCommandsStartReadsIsReadAhead(t *testing.T) {
	for _, c := range []struct {
		request Request
		want    []string
	}{
		{Request{Image: "i", Command: []string{"make"}},
			[]string{"/usr/bin/make", "/bin/sh", "/lib/ld-linux.so.2", "/etc/ld.so.cache", "/lib/i386-linux-gnu/libc.so.6"}},
		{Request{Image: "i"},
			[]string{"/bin/bash", "/bin/sh", "/lib/ld-linux.so.2", "/etc/ld.so.cache", "/lib/i386-linux-gnu/libc.so.6"}},
	} {
		if p := plan(t, c.request, facts()); !slices.Equal(p.Root.ReadAhead, c.want) {
			t.Errorf("%v: %q", c.request.Command, p.Root.ReadAhead)
		}
	}
	f := facts()
	f.Image = arch.Architecture{}
	if p := plan(t, Request{Image: "i", Command: []string{"/x"}}, f); !slices.Equal(p.Root.ReadAhead, []string{"/x", "/bin/sh"}) {
		t.Errorf("an image of an unknown architecture: %q", p.Root.ReadAhead)
	}
}

func TestNoOptionOfATmpfsBringsDevicesOrSetuidProgramsBack(t *testing.T) {
	p := plan(t, Request{Image: "i", Command: []string{"x"}, Tmpfs: []Tmpfs{{"/mnt", []string{"suid", "dev", "mode=0700"}}}}, facts())
	last := p.Spec.Mounts[len(p.Spec.Mounts)-1]
	o := mount.ParseOptions(last.Options)
	if o.Set != unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV || o.Clear != 0 || !slices.Equal(o.Data, []string{"mode=1777", "mode=0700"}) {
		t.Errorf("%v: %+v", last, o)
	}
}

func TestWhoHasATerminal(t *testing.T) {
	command := []string{"make"}
	for _, c := range []struct {
		caller caller.Caller
		r      Request
		want   bool
	}{
		{caller.Caller{Terminal: true}, Request{Command: command}, true},
		{caller.Caller{Terminal: true}, Request{Command: command, Terminal: No}, false},
		{caller.Caller{}, Request{Command: command}, false},
		{caller.Caller{Terminal: true, Background: true}, Request{Command: command}, false},
		{caller.Caller{Terminal: true, Background: true}, Request{Command: command, Login: true}, false},
		{caller.Caller{Terminal: true, Background: true}, Request{}, true},
		{caller.Caller{Terminal: true, Background: true}, Request{Command: command, Terminal: Yes}, true},
	} {
		if got := c.r.wantsTerminal(c.caller); got != c.want {
			t.Errorf("%+v of %+v: %v", c.r, c.caller, got)
		}
	}
}

func TestTemporaryFilesAreWhereThePolicySays(t *testing.T) {
	for tmp, want := range map[string]struct{ kind, source, disk string }{
		"":             {"tmpfs", "tmpfs", ""},
		rule.TmpMemory: {"tmpfs", "tmpfs", ""},
		rule.TmpDisk:   {OnDisk, "var-tmp", "1000.build.fedcba9876543210"},
	} {
		f := facts()
		f.Policy.Tmp = tmp
		p := plan(t, Request{Image: "deb12-i386", Name: "build", Command: []string{"make"}}, f)
		i := slices.IndexFunc(p.Spec.Mounts, func(m specs.Mount) bool { return m.Destination == "/var/tmp" })
		if m := p.Spec.Mounts[i]; m.Type != want.kind || m.Source != want.source || p.Disk != want.disk || !slices.Contains(m.Options, "nosuid") || !slices.Contains(m.Options, "nodev") {
			t.Errorf("%q: %+v on %q", tmp, m, p.Disk)
		}
		if err := p.Check(); err != nil {
			t.Errorf("%q: %v", tmp, err)
		}
		for _, bad := range []string{"", "..", "../x", "a/b"} {
			if p.Spec.Mounts[i].Source = bad; tmp == rule.TmpDisk && p.Check() == nil {
				t.Errorf("source %q", bad)
			}
		}
	}
}

func TestNothingOfTheHostIsBound(t *testing.T) {
	f := facts()
	r := Request{Image: "deb12-i386", Command: []string{"make"}, Dir: "/", NoHostBinds: true, Binds: []Bind{{Source: "/srv/a", Destination: "/srv/a"}}}
	if err := f.LeaveOut(r); err != nil {
		t.Fatal(err)
	}
	p := plan(t, r, f)
	for _, m := range p.Spec.Mounts {
		if m.Type == "bind" && m.Destination != "/srv/a" && !strings.HasPrefix(m.Destination, "/etc/") {
			t.Errorf("%+v", m)
		}
	}
	if slices.ContainsFunc(p.Files, func(f File) bool { return f.Path == "/etc/passwd" }) {
		t.Error("the host's /etc/passwd")
	}
	r.Dir, f.Dir.Inside = "", nil
	if _, err := New(r, f); err == nil || !strings.Contains(err.Error(), "--no-host-binds leaves it out") {
		t.Errorf("%v", err)
	}
}
