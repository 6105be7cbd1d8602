package survey

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mayfly/runtime/caller"
	"mayfly/runtime/here"
	"mayfly/runtime/plan"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/user"
	"mayfly/runtime/user/passwd"
)

func TestNameServersOnTheLoopbackInterfaceAreLeftOut(t *testing.T) {
	for _, c := range []struct {
		text, want string
		servers    int
	}{
		{"", "", 0},
		{"nameserver 10.0.0.1\nsearch example.org\n", "nameserver 10.0.0.1\nsearch example.org\n", 1},
		{"nameserver 127.0.0.53\noptions edns0\n", "options edns0\n", 0},
		{"nameserver\t127.1.2.3\nnameserver ::1\nnameserver fd00::1 # near\n", "nameserver fd00::1 # near\n", 1},
		{"# nameserver 127.0.0.1\nnameserver\nnameserver 12.7.0.1", "# nameserver 127.0.0.1\nnameserver\nnameserver 12.7.0.1", 1},
		{"nameserver 0:0:0:0:0:0:0:1\nnameserver ::1%lo\nnameserver ::ffff:127.0.0.53\nnameserver fd00::1\n", "nameserver fd00::1\n", 1},
	} {
		if got, servers := withoutLoopback(c.text); got != c.want || servers != c.servers {
			t.Errorf("%q: %q, %d servers", c.text, got, servers)
		}
	}
}

func TestTheFirstResolvConfWithAServerCounts(t *testing.T) {
	before := resolvers
	t.Cleanup(func() { resolvers = before })
	dir := t.TempDir()
	var files []string
	for i, text := range []string{"nameserver 127.0.0.53\nsearch first\n", "nameserver 10.0.0.2\n", "nameserver 10.0.0.3\n", "search last\n"} {
		files = append(files, filepath.Join(dir, strconv.Itoa(i)))
		if err := os.WriteFile(files[i], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		files []string
		want  string
	}{
		{files, "nameserver 10.0.0.2\n"},
		{[]string{files[2], files[1]}, "nameserver 10.0.0.3\n"},
		{[]string{dir + "/nosuch", files[2]}, "nameserver 10.0.0.3\n"},
		{[]string{files[0], files[3]}, "search first\n"}, // none has: the first says the rest
		{[]string{dir + "/nosuch"}, ""},
	} {
		resolvers = c.files
		if got := nameServers(); got != c.want {
			t.Errorf("%q: %q, want %q", c.files, got, c.want)
		}
	}
}

func TestAnImageLacksWhatIsNotInIt(t *testing.T) {
	inside := imageWith(t, map[string]string{"home/x": "", "etc/resolv.conf": "", "srv/data/y": ""})
	for what, c := range map[string]struct {
		f    plan.Facts
		r    plan.Request
		want bool
	}{
		"nothing":                                {want: false},
		"of what every version has":              {f: plan.Facts{Present: map[string]bool{"/opt": true, "/etc/hosts": true}}},
		"what is there":                          {f: plan.Facts{Present: map[string]bool{"/srv/data": true}}},
		"what the host does not have":            {f: plan.Facts{Present: map[string]bool{"/data": false}}},
		"what the policy binds":                  {f: plan.Facts{Present: map[string]bool{"/data": true}}, want: true},
		"what the caller binds":                  {r: plan.Request{Binds: []plan.Bind{{Source: "/x", Destination: "/srv/other"}}}, want: true},
		"what the caller binds where it is":      {r: plan.Request{Binds: []plan.Bind{{Source: "/x", Destination: "/srv/data"}}}},
		"on a file system of the container's":    {r: plan.Request{Binds: []plan.Bind{{Source: "/x", Destination: "/tmp/other"}}}},
		"a tmpfs":                                {r: plan.Request{Tmpfs: []plan.Tmpfs{{Destination: "/scratch"}}}, want: true},
		"on a tmpfs of the caller's, but for it": {r: plan.Request{Tmpfs: []plan.Tmpfs{{Destination: "/srv/data"}}, Binds: []plan.Bind{{Source: "/x", Destination: "/srv/data/z"}}}},
	} {
		f := finder{Facts: c.f}
		if got := f.missesMountPoint(inside, c.r); got != c.want {
			t.Errorf("%s: %v", what, got)
		}
	}
}

func TestTheTimeZoneIsTheHostsAndTheImagesOwnIsKnown(t *testing.T) {
	zone := "Europe/Berlin"
	with := imageWith(t, map[string]string{"etc/timezone": " UTC\n", "usr/share/zoneinfo/Europe/Berlin": "TZif"})
	without := imageWith(t, map[string]string{"etc/x": ""})
	for what, c := range map[string]struct {
		changes, has bool
		zone         string
		inImage      string
		data         bool // of the host's is taken along
	}{
		"the host tells none":                     {has: true},
		"the image has it":                        {has: true, zone: zone, inImage: "UTC"},
		"the image lacks it, and does not change": {zone: zone},
		"a copy that has it":                      {changes: true, has: true, zone: zone, inImage: "UTC"},
		"a copy that lacks it":                    {changes: true, zone: zone, data: true},
		"a copy, and no zone":                     {changes: true, has: true, inImage: "UTC", data: true},
	} {
		var f finder
		f.Zone.Name = c.zone
		inside := without
		if c.has {
			inside = with
		}
		f.findImageZone(inside, plan.Request{Writable: c.changes})
		host, _ := os.ReadFile(plan.Localtime)
		want := ""
		if c.data {
			want = string(host)
		}
		if f.Zone.InImage != c.inImage || f.Zone.Data != want {
			t.Errorf("%s: %q, %d bytes", what, f.Zone.InImage, len(f.Zone.Data))
		}
	}
	var f finder
	f.findZone()
	link, _ := os.Readlink(plan.Localtime)
	if _, name, _ := strings.Cut(link, plan.ZoneDirectory); f.Zone.Name != name {
		t.Errorf("%q of the link %q", f.Zone.Name, link)
	}
}

func TestSmallFilesOfAnImageAreRead(t *testing.T) {
	inside := imageWith(t, map[string]string{"small": "text", "large": strings.Repeat("x", 300)})
	for name, want := range map[string]string{"/small": "text", "/large": "", "/nosuch": "", "/": ""} {
		if got := readInside(inside, name, maxName); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestWhatABindWouldHideIsKnown(t *testing.T) {
	inside := imageWith(t, map[string]string{"full/a": "", "full/b": "", "full/c": "", "full/d": "", "full/e": "", "file": ""})
	if err := os.Mkdir("/proc/self/fd/"+strconv.Itoa(inside.FD())+"/empty", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"/full": 2, "/empty": 0, "/nosuch": 0, "/file": 0} {
		if got := namesIn(inside, name, 2); len(got) != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, c := range []struct {
		dir   plan.HostDir
		bound string
		want  bool
	}{
		{plan.HostDir{Path: "/full"}, "", true},
		{plan.HostDir{Path: "/full", Inside: []string{"/elsewhere"}}, "", false}, // it is inside already
		{plan.HostDir{Path: "/full"}, "/full", false},                            // which hides it anyway
		{plan.HostDir{Path: "/full/a"}, "/full", false},
		{plan.HostDir{Path: "/empty"}, "", false},
		{plan.HostDir{Path: "/nosuch"}, "", false},
		{plan.HostDir{}, "", false},
	} {
		f := finder{Facts: plan.Facts{Dir: c.dir, Home: c.dir}}
		if c.bound != "" {
			f.Bound = []plan.BoundSource{{Destination: c.bound}}
		}
		f.findHides(inside, plan.Request{})
		if f.DirHides != c.want || f.HomeHides != c.want {
			t.Errorf("%+v, bound %q: %v, %v", c.dir, c.bound, f.DirHides, f.HomeHides)
		}
	}
}

func TestRootIsToldNamesOfWhatThePolicyHides(t *testing.T) {
	inside := imageWith(t, map[string]string{"tmp/d": "", "tmp/c": "", "tmp/b": "", "tmp/a": "", "usr/x": "", "nosuch-on-the-host/x": "", "var/y": ""})
	d := rule.Decision{Rule: rule.Rule{Bind: []string{"/tmp", "/nosuch-on-the-host", "/nosuch"}, BindReadOnly: []string{"/usr"}}}
	got := Hidden(inside, d)
	if len(got) != 2 || !strings.HasPrefix(got[0], "/tmp") || !strings.HasPrefix(got[1], "/usr") {
		t.Fatalf("%q", got)
	}
	names, asRoot := strings.CutPrefix(got[0], "/tmp (")
	if asRoot != (os.Getuid() == 0) {
		t.Errorf("%q", got)
	}
	if asRoot && (strings.Count(names, ",") != 3 || !strings.HasSuffix(names, ", ...)") || got[1] != "/usr (x)") {
		t.Errorf("%q", got)
	}
}

func TestWhatIsTheSystemsIsNotBoundUnasked(t *testing.T) {
	f := finder{Facts: plan.Facts{Policy: rule.Decision{Settings: rule.Settings{Store: "/var/lib/machines"}}}}
	for dir, want := range map[string]bool{
		"/etc": false, "/etc/x": false, "/usr": false, "/usr/bin": false, "/bin": false, "/boot": false, "/var": false, "/var/lib": false, "/run": false, "/root": false,
		"/var/lib/machines": false, "/var/lib/machines/deb": false, "/usr/src": true, "/usr/local": true, t.TempDir(): true, "relative": false, "/": false,
	} {
		err := f.bindableDir(dir)
		if _, there := os.Stat(dir); want && there != nil {
			continue // /usr/src is not on every machine
		}
		if (err == nil) != want {
			t.Errorf("%s: %v", dir, err)
		}
	}
	f.Rootless = true // whose store is hidden anyway
	if err := f.bindableDir("/var/lib/machines"); err != nil && strings.Contains(err.Error(), "one of the system's") {
		t.Errorf("%v", err)
	}
}

func TestADirectoryIsFoundByWhereItReallyIs(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(top+"/dir", 0o755), os.Symlink("dir", top+"/link"), os.WriteFile(top+"/file", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	id, err := identify(top + "/dir")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{top + "/dir", top + "/link"} {
		if got := lookAt(name); got.Path != top+"/dir" || got.ID != id || got.Err != nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for name, want := range map[string]error{top + "/file": unix.ENOTDIR, top + "/nosuch": unix.ENOENT} {
		if got := lookAt(name); got.Path != "" || !errors.Is(got.Err, want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestTheHomeIsWhatTheEnvironmentNames(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(top+"/data", 0o755), os.Symlink("data", top+"/home")); err != nil {
		t.Fatal(err)
	}
	above, err := identify(top)
	if err != nil {
		t.Fatal(err)
	}
	sources := []plan.BoundSource{{FileID: above, Destination: top}}
	for what, c := range map[string]struct {
		home          string
		r             plan.Request
		name, path    string
		link, ours    bool
		insideItsself bool
	}{
		"a directory":          {home: top + "/data", name: top + "/data", path: top + "/data", insideItsself: true},
		"a link to one":        {home: top + "/home/", name: top + "/home", path: top + "/data", link: true, insideItsself: true},
		"what is not there":    {home: top + "/nosuch", name: top + "/nosuch"},
		"the container's":      {home: "/tmp", name: "/tmp", path: "/tmp", ours: true},
		"none":                 {home: ""},
		"the root directory":   {home: "/"},
		"a relative path":      {home: "home"},
		"root's inside":        {home: top + "/data", r: plan.Request{RootInside: true}},
		"the image's, changed": {home: top + "/data", r: plan.Request{NoEphemeral: true}},
	} {
		var f finder
		f.findHome(c.r, []string{"HOME=" + c.home}, sources)
		if f.HomeName != c.name || f.Home.Path != c.path && c.path != "/tmp" || f.HomeLink != c.link || f.HomeIsOurs != c.ours || slices.Contains(f.Home.Inside, top+"/data") != c.insideItsself {
			t.Errorf("%s: %q, %+v, link %v, ours %v", what, f.HomeName, f.Home, f.HomeLink, f.HomeIsOurs)
		}
	}
}

// database is the machine's, with users in its place whom the machine need not know.
func database(t *testing.T) *user.Database {
	t.Helper()
	d, err := user.Load(here.Here{})
	if err != nil {
		t.Fatal(err)
	}
	d.Passwd = []byte("root:x:0:0:root:/root:/bin/sh\ndev:x:70001:70002:Dev:/home/dev:/bin/zsh\n")
	d.Group = []byte("root:x:0:\ndev:x:70002:\nusers:x:70004:dev\n")
	return d
}

func TestACommandRunsAsItsCallerOrAsWhomTheyName(t *testing.T) {
	d := database(t)
	of := caller.Caller{UID: 70001, GID: 70004, Groups: []uint32{70004, 70002}}
	for what, c := range map[string]struct {
		who      caller.Caller
		user     string
		uid, gid uint32
		name     string
		groups   []uint32
		passwd   bool // a line is added for them
	}{
		"the caller":                {of, "", 70001, 70004, "dev", []uint32{70004, 70002}, false}, // as the kernel has it
		"the caller by name":        {of, "dev", 70001, 70004, "dev", []uint32{70004, 70002}, false},
		"a bare number":             {caller.Caller{UID: 3999999999, GID: 5}, "", 3999999999, 5, "user3999999999", nil, true},
		"another, whom root chose":  {caller.Caller{}, "dev", 70001, 70002, "dev", []uint32{70002, 70004}, false},
		"the same one, by a number": {caller.Caller{}, "70001", 70001, 70002, "dev", []uint32{70002, 70004}, false},
	} {
		f := finder{Facts: plan.Facts{Caller: c.who}}
		if err := f.findUser(plan.Request{User: c.user}, d); err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if f.User.UID != c.uid || f.User.GID != c.gid || f.User.Name != c.name || !slices.Equal(f.Groups, c.groups) {
			t.Errorf("%s: %+v with %v", what, f.User, f.Groups)
		}
		if c.passwd != (f.Passwd != "") || c.passwd && !strings.HasSuffix(f.Passwd, "\n"+passwd.Nameless(c.uid, c.gid).Line+"\n") {
			t.Errorf("%s: /etc/passwd is %q", what, f.Passwd)
		}
	}
	f := finder{}
	if err := f.findUser(plan.Request{User: "-nosuch"}, d); !errors.Is(err, passwd.ErrUnknown) {
		t.Errorf("whom nobody knows: %v", err)
	}
}

func TestRootInsideIsTheImagesAndTheCallerIsAddedToItsUsers(t *testing.T) {
	inside := imageWith(t, map[string]string{"etc/passwd": "root:x:0:0:root:/root:/bin/zsh", "etc/group": "root:x:0:\nusers:x:70004:\n"})
	dev := passwd.Entry{Name: "dev", UID: 70001, GID: 70004, Home: "/home/dev", Shell: "/bin/bash"}
	f := finder{Facts: plan.Facts{User: dev, RootInside: &plan.RootInside{}}}
	if err := f.findUsers(inside); err != nil {
		t.Fatal(err)
	}
	r := f.RootInside
	if r.Root.Shell != "/bin/zsh" || r.Root.Home != "/root" {
		t.Errorf("%+v", r.Root)
	}
	// The file's last line lacks its end.
	if want := "\ndev:*:70001:70004::/home/dev:/bin/bash\n"; r.Lines[passwd.PasswdFile] != want || r.Content[passwd.PasswdFile] != "root:x:0:0:root:/root:/bin/zsh"+want {
		t.Errorf("%q, %q", r.Lines, r.Content)
	}
	if _, changed := r.Content[passwd.GroupFile]; changed {
		t.Errorf("a group that is there is added: %q", r.Lines)
	}
	f.RootInside = &plan.RootInside{IsCaller: true}
	if err := f.findUsers(inside); err != nil || len(f.RootInside.Lines) != 0 {
		t.Errorf("of a caller who is root: %q, %v", f.RootInside.Lines, err)
	}
	f.RootInside = &plan.RootInside{}
	if err := f.findUsers(imageWith(t, map[string]string{"x": ""})); err != nil || f.RootInside.Root.Shell != plan.PlainShell || len(f.RootInside.Content) != 0 {
		t.Errorf("an image without users: %+v, %v", f.RootInside, err)
	}
	if err := f.findUsers(imageWith(t, map[string]string{"etc/passwd/x": ""})); err == nil || !strings.Contains(err.Error(), "image's /etc/passwd") {
		t.Errorf("a directory: %v", err)
	}
}

func TestATmpfsOfAUsersIsBoundedByTheMachine(t *testing.T) {
	more := []plan.Tmpfs{{Destination: "/x", Options: []string{"size=8388607T"}}}
	for _, c := range []struct {
		uid     uint32
		list    []plan.Tmpfs
		refused bool
	}{{70001, more, true}, {0, more, false}, {70001, nil, false}, {70001, []plan.Tmpfs{{Destination: "/x", Options: []string{"size=1M"}}}, false}} {
		f := finder{Facts: plan.Facts{Caller: caller.Caller{UID: c.uid}}}
		if err := f.checkTmpfs(c.list); (err != nil) != c.refused {
			t.Errorf("%d, %+v: %v", c.uid, c.list, err)
		}
	}
}

func TestATerminalOfTheCallersIsLookedForUnlessTheyHaveItsDescription(t *testing.T) {
	home := t.TempDir()
	own := filepath.Join(home, ".terminfo/f/foot")
	if err := errors.Join(os.MkdirAll(filepath.Dir(own), 0o755), os.WriteFile(own, nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		env   []string
		r     plan.Request
		binds []string
		want  string
	}{
		{[]string{"TERM=foot"}, plan.Request{}, nil, "foot"},
		{[]string{"TERM=xterm"}, plan.Request{}, nil, ""}, // everybody has it
		{[]string{"TERM=../x"}, plan.Request{}, nil, ""},
		{nil, plan.Request{}, nil, ""},
		{[]string{"TERM=foot"}, plan.Request{Env: []string{"TERM=foot"}}, nil, ""},
		{[]string{"TERM=foot"}, plan.Request{Env: []string{"TERM"}}, nil, "foot"},
		{[]string{"TERM=foot", "TERMINFO=/x"}, plan.Request{}, nil, ""},
		{[]string{"TERM=foot", "TERMINFO_DIRS=/x"}, plan.Request{}, nil, ""},
		{[]string{"TERM=foot"}, plan.Request{}, []string{"/usr"}, ""}, // the host's descriptions are inside
		{[]string{"TERM=foot", "HOME=" + home}, plan.Request{}, nil, "foot"},
		{[]string{"TERM=foot", "HOME=" + home}, plan.Request{}, []string{home}, ""},
		{[]string{"TERM=tmux", "HOME=" + home}, plan.Request{}, []string{home}, "tmux"},
	} {
		f := finder{Facts: plan.Facts{Policy: rule.Decision{Rule: rule.Rule{Bind: c.binds}}}}
		if got := f.wantsTerm(c.r, c.env); got != c.want {
			t.Errorf("%q, %q bound: %q, want %q", c.env, c.binds, got, c.want)
		}
	}
	for files, want := range map[string]string{"usr/share/terminfo/f/foot": "foot", "lib/terminfo/66/foot": "foot", "etc/terminfo/x/xterm": "xterm", "etc/x": "foot"} {
		f := finder{Facts: plan.Facts{Term: "foot"}}
		if f.findTerm(imageWith(t, map[string]string{files: ""})); f.Term != want {
			t.Errorf("an image with %s: %q", files, f.Term)
		}
	}
}

func TestAShellThatTheImageLacksIsKnown(t *testing.T) {
	inside := imageWith(t, map[string]string{"bin/zsh": "", "bin/file": ""})
	for shell, want := range map[string]bool{"/bin/zsh": false, "/bin/fish": true, "/bin/file/fish": true, "/bin/sh": false, "fish": false} {
		f := finder{Facts: plan.Facts{User: passwd.Entry{Shell: shell}, Caller: caller.Caller{Env: []string{"SHELL=" + shell}}}}
		if f.findShell(inside, plan.Request{}); f.NoShell != want {
			t.Errorf("%s: %v", shell, f.NoShell)
		}
	}
}

func TestASessionHasItsImageAlready(t *testing.T) {
	if err := Resolve(here.Here{}, &plan.Request{Image: "deb"}); err != nil {
		t.Errorf("without a session: %v", err)
	}
	for _, r := range []plan.Request{{Image: "deb", Session: "work"}, {Session: "work", Writable: true}} {
		before := fmt.Sprintf("%+v", r)
		if err := Resolve(here.Here{}, &r); err == nil || fmt.Sprintf("%+v", r) != before {
			t.Errorf("%s: %v", before, err)
		}
	}
}
