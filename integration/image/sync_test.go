package image

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"mayfly/integration/kit"
)

// versions makes an image with the versions 1, 2, 4 and 5, of which 4 is current.
func (s store) versions(t testing.TB, name string) {
	t.Helper()
	s.small(t, name, "first")
	for i := 2; i <= 5; i++ {
		s.succeed(t, "image", "create", name, "--next", recipe(t, fmt.Sprintf("from = %q\n[labels]\nteam = \"build\"\n[[file]]\npath = \"/srv/what\"\ncontent = \"number %d\"\n", name, i)))
	}
	kit.Command(t, "btrfs", "-q", "property", "set", filepath.Join(s.path, name, "3"), "ro", "false") // as `image prune` would
	kit.Command(t, "btrfs", "-q", "subvolume", "delete", filepath.Join(s.path, name, "3"))
	kit.Must(t, os.Remove(filepath.Join(s.path, name, "3.json")))
	s.succeed(t, "image", "rollback", name+"@4")
}

// same checks that two stores have the same of an image.
func same(t *testing.T, from, to store, name string) {
	t.Helper()
	show := func(s store) string {
		var b strings.Builder
		for _, r := range s.history(t, name) {
			fmt.Fprintf(&b, "%d %s %s %v %v\n", r.Version, r.Digest, r.Origin, r.Labels, r.Current)
		}
		return b.String()
	}
	if want, got := show(from), show(to); got != want {
		t.Errorf("there:\n%shere:\n%s", want, got)
	}
	to.clean(t)
}

func TestAStoreBecomesWhatTheSourceIs(t *testing.T) {
	from := store{kit.NewStore(t), true}
	from.versions(t, "one")
	from.small(t, "two", "another")
	dir := filepath.Join(t.TempDir(), "published")
	from.succeed(t, "image", "publish", dir)
	web := newFarm(t, dir)
	each(t, func(t *testing.T, to store) {
		if out := to.succeed(t, "image", "sync", web.URL); out != "image one@4: brought @4, brought @1, brought @2, brought @5\nimage two@1: brought @1\n" {
			t.Errorf("%q", out)
		}
		same(t, from, to, "one")
		same(t, from, to, "two")
		first := web.served()
		if out := to.succeed(t, "image", "sync", dir, "one"); out != "image one@4: up to date\n" {
			t.Errorf("again: %q", out)
		}
		if out := to.succeed(t, "image", "verify", "one@5"); !strings.Contains(out, "one@5") {
			t.Errorf("%q", out)
		}

		// One more version: a launch sees it when it is whole, and little is sent.
		from.succeed(t, "image", "rollback", "one@5")
		from.succeed(t, "image", "create", "two", "--next", recipe(t, "from = \"two\"\n[[file]]\npath = \"/srv/what\"\ncontent = \"the second\"\n"))
		from.succeed(t, "image", "publish", dir)
		if out := to.succeed(t, "image", "sync", "--json", web.URL); !regexp.MustCompile(`(?s)"name": "one",\s+"current": 5,\s+"was": 4,.*"name": "two",\s+"current": 2,\s+"was": 1,\s+"brought": \[\s+2`).MatchString(out) {
			t.Errorf("%s", out)
		}
		if more := web.served(); more*3 > first {
			t.Errorf("%d bytes for a file that has changed, %d for everything", more, first)
		}
		same(t, from, to, "one")
		same(t, from, to, "two")
		if got := to.file(t, "two"); got != "the second" {
			t.Errorf("%q", got)
		}

		// What the source has no more goes if that is asked for, but not what is in use.
		from.succeed(t, "image", "prune", "--keep", "1", "one")
		from.succeed(t, "image", "publish", dir)
		if out := to.succeed(t, "image", "sync", dir, "one"); out != "image one@5: up to date\n" {
			t.Errorf("%q", out)
		}
		stop := to.start(t, "one@2", "/bin/program", "policy", "check", "/dev/stdin")
		if out := to.succeed(t, "image", "sync", "--prune", dir, "one"); out != "image one@5: removed @1, removed @4, @2 is in use and stays\n" {
			t.Errorf("%q", out)
		}
		stop()
		to.succeed(t, "image", "sync", "--prune", dir, "one")
		same(t, from, to, "one")
		// Back to where it began, for the other kind of store.
		from.succeed(t, "image", "remove", "one", "two")
		from.versions(t, "one")
		from.small(t, "two", "another")
		from.succeed(t, "image", "publish", dir)
		web.served()
	})
}

func TestOnlyWhatIsCurrent(t *testing.T) {
	from, to := store{kit.NewStore(t), true}, newOverlay(t)
	from.versions(t, "one")
	dir := t.TempDir()
	from.succeed(t, "image", "publish", dir)
	to.succeed(t, "image", "sync", "--current", dir)
	if list := to.history(t, "one"); len(list) != 1 || list[0].Version != 4 || !list[0].Current {
		t.Errorf("%+v", list)
	}
}

func TestADownloadThatBreaksOffGoesOn(t *testing.T) {
	from := store{kit.NewStore(t), true}
	root := tree(t, program+"head -c 4000000 /dev/urandom >srv/much; echo x >srv/what")
	from.succeed(t, "image", "import", "one", root)
	dir := t.TempDir()
	from.succeed(t, "image", "publish", dir)
	web := newFarm(t, dir)
	for _, ranges := range []bool{true, false} {
		web.ranges = ranges
		to := newOverlay(t)
		to.refuse(t, "unknown image", "image", "inspect", "one")
		web.served()
		web.broken = 30_000 // some times it goes on by itself
		r := kit.Root(t, to.on([]string{"image", "sync", web.URL})...)
		if r.WithoutProgress().Code != 125 || !strings.Contains(r.Err, "curl: ") {
			t.Errorf("broken off: %+v", r)
		}
		web.broken = 0
		to.refuse(t, "unknown image", "image", "inspect", "one")
		parts, err := filepath.Glob(to.path + "/.mayfly/.part-*")
		if err != nil || len(parts) != 1 {
			t.Errorf("%q, %v", parts, err)
		}
		kit.Succeed(t, "gc") // keeps it
		got := web.served()
		to.succeed(t, "image", "sync", web.URL)
		var size int64
		files, err := os.ReadDir(filepath.Join(dir, "files"))
		if err == nil {
			info, err := files[0].Info()
			kit.Must(t, err)
			size = info.Size()
		}
		if rest := web.served(); ranges && (rest+got > size+200_000 || got < 60_000) || !ranges && rest < size {
			t.Errorf("%d bytes, and then %d; the file has %d", got, rest, size)
		}
		same(t, from, to, "one")
	}
}

func TestASourceIsAnotherHostsStore(t *testing.T) {
	host, path := serverBySSH(t)
	from := store{kit.NewStore(t), true}
	from.versions(t, "one")
	sync := func(t *testing.T, to store, args ...string) kit.Result {
		t.Helper()
		cmd := exec.Command(kit.Runtime, to.on(append([]string{"image", "sync"}, args...))...)
		cmd.Env = append(os.Environ(), "PATH="+path)
		return kit.Do(t, cmd).WithoutProgress()
	}
	each(t, func(t *testing.T, to store) {
		if r := sync(t, to, host+from.path); r.Code != 0 || r.Out != "image one@4: brought @4, brought @1, brought @2, brought @5\n" {
			t.Fatalf("%+v", r)
		}
		same(t, from, to, "one")
		if to.btrfs { // they came as streams: the changes of the next one build on them
			out, err := exec.Command("btrfs", "subvolume", "show", filepath.Join(to.path, "one", "5")).CombinedOutput()
			if err != nil || regexp.MustCompile(`Received UUID:\s+-`).Match(out) {
				t.Errorf("%s, %v", out, err)
			}
		}
		from.succeed(t, "image", "rollback", "one@5")
		from.succeed(t, "image", "create", "one", "--next", recipe(t, "from = \"one\"\n[[file]]\npath = \"/srv/what\"\ncontent = \"six\"\n"))
		if r := sync(t, to, host+from.path, "one"); r.Code != 0 || r.Out != "image one@6: brought @6, current was @4\n" {
			t.Errorf("%+v", r)
		}
		same(t, from, to, "one")
		from.succeed(t, "image", "remove", "one")
		from.versions(t, "one")
	})
	to := newOverlay(t)
	for what, c := range map[string]struct{ source, want string }{
		"a store that is not there":  {host + "/no/such/store", "ssh: "},
		"a port where nobody is":     {"ssh://127.0.0.1:1", "ssh: "},
		"an option for a host":       {"ssh://-oProxyCommand=id", "want ssh://"},
		"a path for a shell":         {host + "/a;id", "letters, digits"},
		"an image that is not there": {host + from.path + " two", "the source has no image two; it has one"},
	} {
		if r := sync(t, to, strings.Fields(c.source)...); r.Code != 125 || strings.Count(r.Err, "\n") != 1 || !strings.Contains(r.Err, c.want) {
			t.Errorf("%s: %+v", what, r)
		}
	}
	to.clean(t)
}

func TestAVersionKeepsItsNumber(t *testing.T) {
	from, to := store{kit.NewStore(t), true}, store{kit.NewStore(t), true}
	from.versions(t, "one")
	pass := func(send, receive string) kit.Result {
		return kit.Do(t, exec.Command("sh", "-c", kit.Runtime+" image send --store "+from.path+" "+send+" | "+kit.Runtime+" image receive --store "+to.path+" "+receive)).WithoutProgress()
	}
	numbers := func() string {
		var b strings.Builder
		for _, r := range to.history(t, "one") {
			fmt.Fprintf(&b, "%d%s ", r.Version, map[bool]string{true: "*"}[r.Current])
		}
		return b.String()
	}
	for _, c := range []struct{ send, receive, want string }{
		{"one@4", "", "4* "},
		{"--parent 4 one@2", "", "2 4* "}, // an older one does not go to work
		{"--archive --parent 2 one@5", "", "2 4 5* "},
	} {
		if r := pass(c.send, c.receive); r.Code != 0 || numbers() != c.want {
			t.Errorf("send %s: %s; %+v", c.send, numbers(), r)
		}
	}
	// Another version 6 is here.
	to.small(t, "one", "local", "--next")
	from.succeed(t, "image", "create", "one", "--next", recipe(t, "from = \"one\"\n[[file]]\npath = \"/srv/what\"\ncontent = \"six\"\n"))
	if r := pass("--archive one@6", ""); r.Code != 125 || !strings.Contains(r.Err, "one@6 is here, and is another: --next") {
		t.Errorf("%+v", r)
	}
	dir := t.TempDir()
	from.succeed(t, "image", "publish", dir)
	to.refuse(t, "version 6 here is another than that of the source", "image", "sync", dir)
	if numbers() != "2 4 5 6* " {
		t.Errorf("after a refusal: %s", numbers())
	}
	if r := pass("--archive one@6", "--next"); r.Code != 0 || numbers() != "2 4 5 6 7* " {
		t.Errorf("%s; %+v", numbers(), r)
	}
	to.clean(t)
}

// Many nodes ask at the same time, as a timer makes them do.
func TestManyStoresAtATime(t *testing.T) {
	from := store{kit.NewStore(t), true}
	from.versions(t, "one")
	dir := t.TempDir()
	from.succeed(t, "image", "publish", dir)
	web := newFarm(t, dir)
	nodes := make([]store, kit.Times(50))
	for i := range nodes {
		nodes[i] = newOverlay(t)
	}
	all := func(want string) {
		t.Helper()
		var together sync.WaitGroup
		for _, node := range nodes {
			together.Go(func() {
				if r := kit.Root(t, node.on([]string{"image", "sync", "--current", web.URL})...).WithoutProgress(); r.Code != 0 || r.Out != want {
					t.Errorf("%+v, want %q", r, want)
				}
			})
		}
		together.Wait()
		for _, node := range nodes {
			if node.digest(t, "one") != from.digest(t, "one") {
				t.Error("the digest is another")
			}
			node.clean(t)
		}
	}
	all("image one@4: brought @4\n")
	first := web.served()
	from.succeed(t, "image", "rollback", "one@5")
	from.succeed(t, "image", "publish", dir)
	all("image one@5: brought @5, current was @4\n")
	if more := web.served(); more*3 > first {
		t.Errorf("%d bytes for a change, %d before", more, first)
	}
	all("image one@5: up to date\n")
}
