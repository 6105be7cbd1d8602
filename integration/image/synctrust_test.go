package image

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

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
	first := exec.Command("flock", to.path+"/.mayfly", "cat", fifo) // as a sync holds it
	kit.Must(t, first.Start())
	kit.Eventually(t, "it is held", func() bool { return exec.Command("flock", "-n", to.path+"/.mayfly", "true").Run() != nil })
	to.refuse(t, "another process brings or publishes images", "image", "sync", dir)
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
