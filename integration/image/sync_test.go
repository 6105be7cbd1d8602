package image

import (
	"fmt"
	"net/http"
	"net/http/httptest"
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

// A farm is a published directory behind a web server that counts what it serves.
type farm struct {
	*httptest.Server
	dir string

	mu     sync.Mutex
	bytes  int64
	broken int64 // each answer ends after so many bytes; 0: it is whole
	flood  bool  // an answer has more than it should
	ranges bool  // it continues files
}

func newFarm(t *testing.T, dir string) *farm {
	f := &farm{dir: dir, ranges: true}
	files := http.FileServer(http.Dir(dir))
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !f.ranges {
			r.Header.Del("Range")
		}
		if f.flood && strings.HasPrefix(r.URL.Path, "/files/") { // in chunks, without a length
			for range 1000 {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
			return
		}
		files.ServeHTTP(&counting{w, f, strings.HasPrefix(r.URL.Path, "/files/")}, r)
	}))
	t.Cleanup(f.Close)
	return f
}

type counting struct {
	http.ResponseWriter
	farm *farm
	file bool
}

func (c *counting) Write(b []byte) (int, error) {
	c.farm.mu.Lock()
	defer c.farm.mu.Unlock()
	c.farm.bytes += int64(len(b))
	if limit := c.farm.broken; limit > 0 && c.file {
		_, _ = c.ResponseWriter.Write(b[:min(limit, int64(len(b)))])
		panic(http.ErrAbortHandler)
	}
	return c.ResponseWriter.Write(b)
}

// served returns the bytes that it has served since the last call.
func (f *farm) served() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.bytes
	f.bytes = 0
	return n
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

// serverBySSH starts sshd(8) for root, and returns its address and the PATH with an
// ssh(1) that knows it. Nothing of root's own settings is used.
func serverBySSH(t *testing.T) (host, path string) {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	kit.Must(t, os.Chmod(dir, 0o700))
	for _, key := range []string{"host", "user"} {
		kit.Command(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", at(key))
	}
	const port = "20022"
	public, err := os.ReadFile(at("user.pub"))
	kit.Must(t, err)
	hostKey, err := os.ReadFile(at("host.pub"))
	kit.Must(t, err)
	kit.Must(t, os.WriteFile(at("authorized"), public, 0o600))
	kit.Must(t, os.WriteFile(at("known"), []byte("[127.0.0.1]:"+port+" "+string(hostKey)), 0o600))
	kit.Must(t, os.WriteFile(at("sshd_config"), []byte("Port "+port+"\nListenAddress 127.0.0.1\nHostKey "+at("host")+"\nAuthorizedKeysFile "+at("authorized")+
		"\nPermitRootLogin prohibit-password\nStrictModes no\nPidFile none\nUsePAM no\nSetEnv PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin\n"), 0o600))
	kit.Must(t, os.MkdirAll("/run/sshd", 0o755))
	server := exec.Command("/usr/sbin/sshd", "-D", "-q", "-f", at("sshd_config"))
	kit.Must(t, server.Start())
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	kit.Must(t, os.Mkdir(at("bin"), 0o755))
	kit.Must(t, os.WriteFile(at("bin/ssh"), []byte("#!/bin/sh\nexec /usr/bin/ssh -F none -o BatchMode=yes -o UserKnownHostsFile="+at("known")+" -i "+at("user")+` "$@"`+"\n"), 0o755))
	path = at("bin") + ":" + os.Getenv("PATH")
	kit.Eventually(t, "sshd answers", func() bool {
		cmd := exec.Command(at("bin/ssh"), "-p", port, "127.0.0.1", "true")
		return cmd.Run() == nil
	})
	return "ssh://root@127.0.0.1:" + port, path
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

func TestWhoMayChangeAnImageOnItsWay(t *testing.T) {
	from, to := store{kit.NewStore(t), true}, newOverlay(t)
	from.versions(t, "one")
	keys := t.TempDir()
	for _, key := range []string{"mine", "other"} {
		kit.Command(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(keys, key))
	}
	signers := func(key string) string {
		public, err := os.ReadFile(filepath.Join(keys, key+".pub"))
		kit.Must(t, err)
		name := filepath.Join(keys, "signers-"+key)
		kit.Must(t, os.WriteFile(name, append([]byte("images@example.org "), public...), 0o600))
		return name
	}
	dir := t.TempDir()
	from.succeed(t, "image", "publish", dir)
	to.refuse(t, "the index is not signed", "image", "sync", "--signers", signers("mine"), dir)
	to.refuse(t, "give the file of allowed signers with --signers", "image", "sync", "http://images.example.org/mayfly")
	from.succeed(t, "image", "publish", "--sign", filepath.Join(keys, "mine"), dir)
	to.refuse(t, "no key of ", "image", "sync", "--signers", signers("other"), dir)
	to.refuse(t, "no such file", "image", "sync", "--signers", "/no/such/file", dir)

	index := filepath.Join(dir, "mayfly-images")
	text, err := os.ReadFile(index)
	kit.Must(t, err)
	kit.Must(t, os.WriteFile(index, []byte(strings.Replace(string(text), `"team":"build"`, `"team":"other"`, 1)), 0o644))
	to.refuse(t, "the index's signature: ssh-keygen: ", "image", "sync", "--signers", signers("mine"), dir)
	kit.Must(t, os.WriteFile(index, text, 0o644))

	// A file that is another image's has not the digest that was signed.
	files, err := filepath.Glob(filepath.Join(dir, "files", "*"))
	kit.Must(t, err)
	from.small(t, "evil", "evil")
	for _, name := range files {
		kit.Command(t, "sh", "-c", kit.Runtime+" image send --archive --store "+from.path+" evil | zstd -qc >"+name)
		info, err := os.Stat(name)
		kit.Must(t, err)
		old := regexp.MustCompile(`"name":"files/` + filepath.Base(name) + `","bytes":\d+`)
		text = old.ReplaceAll(text, fmt.Appendf(nil, `"name":"files/%s","bytes":%d`, filepath.Base(name), info.Size()))
	}
	kit.Must(t, os.WriteFile(index, text, 0o644)) // sizes that fit; the signature is not looked at
	to.refuse(t, "the content has the digest", "image", "sync", dir)
	web := newFarm(t, dir)
	to.refuse(t, "is not the file that the index names", "image", "sync", web.URL)
	to.refuse(t, "unknown image", "image", "inspect", "one")
	to.clean(t)

	// Nor is a stream of btrfs-send(8) taken, which btrfs-receive(8) would apply as root.
	for _, name := range files {
		info, err := os.Stat(name)
		kit.Must(t, err)
		head := `{"mayfly-image":"1","name":"one","record":{"version":4,"digest":"` + from.digest(t, "one") + `"}}` + "\n"
		kit.Must(t, os.WriteFile(name, append([]byte(head), make([]byte, info.Size()-int64(len(head)))...), 0o644))
	}
	to.refuse(t, "the stream is not the one that was asked for", "image", "sync", dir)
	to.clean(t)

	// Who signs again signs nothing that somebody else has put there.
	from.succeed(t, "image", "remove", "evil")
	from.succeed(t, "image", "publish", "--sign", filepath.Join(keys, "mine"), dir)
	to.succeed(t, "image", "sync", "--signers", signers("mine"), dir)
	same(t, from, to, "one")
}

func TestAServerFillsNoDisk(t *testing.T) {
	from, to := store{kit.NewStore(t), true}, newOverlay(t)
	from.small(t, "one", "first")
	dir := filepath.Join(t.TempDir(), "published")
	cmd := exec.Command("sh", "-c", "umask 077; exec "+kit.Runtime+" image publish --store "+from.path+" "+dir)
	if r := kit.Do(t, cmd).WithoutProgress(); r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	for _, name := range []string{dir, dir + "/files", dir + "/mayfly-images"} { // for a web server to read
		if info, err := os.Stat(name); err != nil || info.Mode().Perm()&0o044 != 0o044 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	web := newFarm(t, dir)
	web.flood = true
	to.refuse(t, "is not the file that the index names", "image", "sync", web.URL)
	web.flood = false
	to.succeed(t, "image", "sync", web.URL)
	same(t, from, to, "one")
}

func TestOneBringsImagesAtATime(t *testing.T) {
	from, to := store{kit.NewStore(t), true}, newOverlay(t)
	from.small(t, "one", "first")
	dir := t.TempDir()
	from.succeed(t, "image", "publish", dir)
	fifo := filepath.Join(t.TempDir(), "fifo")
	kit.Command(t, "mkfifo", fifo)
	first := exec.Command("flock", to.path, "cat", fifo) // as a sync holds it
	kit.Must(t, first.Start())
	kit.Eventually(t, "it is held", func() bool { return exec.Command("flock", "-n", to.path, "true").Run() != nil })
	to.refuse(t, "another process brings images", "image", "sync", dir)
	kit.Must(t, os.WriteFile(fifo, nil, 0))
	kit.Must(t, first.Wait())
	to.succeed(t, "image", "sync", dir)
	same(t, from, to, "one")
}

// What an interrupted change has left is no version: neither is it kept, nor does it keep
// the next one from being current.
func TestAHalfVersionIsInNobodysWay(t *testing.T) {
	from, to := store{kit.NewStore(t), true}, newOverlay(t)
	from.small(t, "one", "first")
	dir := t.TempDir()
	from.succeed(t, "image", "publish", dir)
	to.succeed(t, "image", "sync", dir)
	from.succeed(t, "image", "create", "one", "--next", recipe(t, "from = \"one\"\n[[file]]\npath = \"/srv/what\"\ncontent = \"second\"\n"))
	for _, n := range []string{"2", "7"} {
		kit.Must(t, os.Mkdir(filepath.Join(to.path, "one", n), 0o755))
	}
	if r := receiveIn(t, to, kit.Do(t, exec.Command(kit.Runtime, from.on([]string{"image", "send", "--archive", "one"})...)).Out); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	same(t, from, to, "one")
	// The last number that there can be is the last.
	if r := receiveIn(t, to, strings.Replace(kit.Do(t, exec.Command(kit.Runtime, from.on([]string{"image", "send", "--archive", "one"})...)).Out, `"version":2`, `"version":999999999`, 1), "--name", "two"); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	to.refuse(t, "no version can have the number 1000000000", "image", "import", "--next", "two", tree(t, program))
	if to.history(t, "two")[0].Version != 999999999 {
		t.Error("another number")
	}
}

func TestAnIndexIsNotBelieved(t *testing.T) {
	from, to := store{kit.NewStore(t), true}, newOverlay(t)
	from.small(t, "one", "first")
	dir := t.TempDir()
	to.refuse(t, "there is no mayfly-images: `runtime image publish", "image", "sync", dir)
	to.refuse(t, "the source has no image", "image", "sync", func() string { from.succeed(t, "image", "publish", dir); return dir }(), "two")
	index := filepath.Join(dir, "mayfly-images")
	text, err := os.ReadFile(index)
	kit.Must(t, err)
	for what, c := range map[string][2]string{
		"a file elsewhere":       {`"name":"files/`, `"name":"../files/`},
		"a file by its path":     {`"name":"files/`, `"name":"/etc/`},
		"an option":              {`"name":"files/`, `"name":"files/-`},
		"no such version":        {`"current":1`, `"current":2`},
		"a number that is none":  {`"version":1`, `"version":-1`},
		"a name that climbs":     {`"name":"one"`, `"name":"../one"`},
		"a name that is hidden":  {`"name":"one"`, `"name":".mayfly"`},
		"no digest":              {`"digest":"sha256:`, `"digest":"md5:`},
		"another format":         {`"mayfly-images":"1"`, `"mayfly-images":"2"`},
		"no checksum":            {`"sha256":"`, `"sha256":"x`},
		"a text":                 {string(text), "hello\n"},
		"nothing":                {string(text), ""},
		"half of it":             {string(text), string(text[:len(text)/2])},
		"a link for the content": {"", ""},
	} {
		changed := strings.Replace(string(text), c[0], c[1], 1)
		if c[0] != "" && changed == string(text) {
			t.Fatalf("%s: nothing to change", what)
		}
		if c[0] == "" {
			files, err := filepath.Glob(filepath.Join(dir, "files", "*"))
			kit.Must(t, err)
			kit.Must(t, os.Rename(files[0], filepath.Join(filepath.Dir(dir), "outside")))
			kit.Must(t, os.Symlink(filepath.Join(filepath.Dir(dir), "outside"), files[0]))
			defer os.Rename(filepath.Join(filepath.Dir(dir), "outside"), files[0])
		}
		kit.Must(t, os.WriteFile(index, []byte(changed), 0o644))
		to.refuse(t, "", "image", "sync", dir)
	}
	kit.Must(t, os.Remove(index))
	kit.Command(t, "mkfifo", index)
	to.refuse(t, "is no file", "image", "sync", dir)
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
