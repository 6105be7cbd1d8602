package image

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

// everything is a tree with all that an image can hold.
var everything = program + `
	umask 022; mkdir -p a/b empty; echo text >a/file; ln a/file a/b/hard; ln -s ../file a/b/soft; ln -s /nowhere dangling; ln a/b/soft a/softhard
	mkfifo fifo; mknod null c 1 3; mknod -m 600 disk b 7 200; chown 12:34 a/file; chmod 4751 a/file; chmod 2775 a/b; chmod 1777 empty
	setfattr -n user.note -v value a/file; setfattr -n user.note -v directory a/b; setfacl -m u:1234:rwx,g:99:r a/b; setfacl -d -m u:77:rx a/b
	install -m 0755 /bin/true cap; setcap cap_net_raw+ep cap; truncate -s 40M sparse; printf x | dd of=sparse bs=1 seek=20000000 conv=notrunc status=none; truncate -s 8193 odd
	touch -d '2001-02-03 04:05:06.123456789' a/file; touch -h -d '1999-01-01 00:00:01.5' dangling
	printf x >"$(printf 'new\nline')"; printf x >"$(printf 'bad\377')"; mkdir deep; d=deep; for i in $(seq 40); do d=$d/a-directory-with-a-rather-long-name; mkdir "$d"; done; echo deep >$d/file
	touch -d @7 a/b a empty deep; touch -d '2010-01-01 00:00:00.25' .`

func TestATreeSurvivesEveryWay(t *testing.T) {
	other := newOverlay(t)
	each(t, func(t *testing.T, s store) {
		dir := tree(t, everything)
		s.succeed(t, "image", "import", "one", dir)
		want, out := s.digest(t, "one"), t.TempDir()
		for i, c := range []struct {
			flags []string
			file  string
		}{
			{nil, "one.tar"}, {nil, "one.tar.gz"}, {nil, "one.tar.xz"}, {nil, "one.tar.zst"}, {nil, "one.tar.bz2"},
			{[]string{"--format", "oci"}, "one.oci.tar"}, {[]string{"--format", "oci", "--compress", "zstd"}, "one.oci.zstd.tar"},
			{[]string{"--format", "oci", "--compress", "none"}, "layout/"},
		} {
			name, file := "way"+itoa(i), filepath.Join(out, c.file)
			if strings.HasSuffix(c.file, "/") {
				file += "/"
			}
			s.succeed(t, append(append([]string{"image", "export"}, c.flags...), "one", file)...)
			other.succeed(t, "image", "import", name, file)
			if got := other.digest(t, name); got != want {
				diff := kit.Root(t, "image", "diff", "--store", other.path, name, name)
				t.Errorf("%s: digest %s, want %s; %s", c.file, got, want, diff.Out)
			}
			other.succeed(t, "image", "remove", name)
		}
		pipe := exec.Command("sh", "-c", kit.Runtime+" image export --store "+s.path+" one - | "+kit.Runtime+" image import --store "+other.path+" piped -")
		if r := kit.Do(t, pipe); r.Code != 0 || other.digest(t, "piped") != want {
			t.Errorf("through a pipe: %+v", r)
		}
		if info, err := os.Stat(filepath.Join(other.path, "piped", "1", "sparse")); err != nil || blocks(info) > 64 {
			t.Errorf("the sparse file has %d blocks, %v", blocks(info), err)
		}
		other.succeed(t, "image", "remove", "piped")
		s.clean(t)
		other.clean(t)
	})
}

// TestArchivesOfOtherPrograms compares what we unpack with what they do.
func TestArchivesOfOtherPrograms(t *testing.T) {
	s, out := newOverlay(t), t.TempDir()
	dir := tree(t, everything)
	s.succeed(t, "image", "import", "one", dir)
	want := s.digest(t, "one")
	tiny := filepath.Join(out, "tiny")
	kit.Command(t, "sh", "-ec", `mkdir $1.d; echo >$1.d/file; tar -C $1.d -cJf $1 .`, "sh", tiny)
	s.succeed(t, "image", "import", "tiny", tiny)
	for name, script := range map[string]string{
		"gnutar":   "tar -C $1 --xattrs --xattrs-include='*' --acls --format=posix -cf $2 .",
		"sparse":   "tar -C $1 --xattrs --xattrs-include='*' --acls --format=posix -S -cf $2 .",
		"gzip":     "tar -C $1 --xattrs --xattrs-include='*' --acls --format=posix -czf $2 .",
		"xz":       "tar -C $1 --xattrs --xattrs-include='*' --acls --format=posix -cJf $2 .",
		"zstd":     "tar -C $1 --xattrs --xattrs-include='*' --acls --format=posix --zstd -cf $2 .",
		"absolute": "tar -C / --xattrs --xattrs-include='*' --acls --format=posix -P --transform=\"s,^$1,/,;\" -cf $2 $1",
	} {
		file := filepath.Join(out, name)
		kit.Command(t, "sh", "-ec", script, "sh", dir, file)
		s.succeed(t, "image", "import", name, file)
		if got := s.digest(t, name); got != want {
			t.Errorf("%s: digest %s, want %s:\n%s", name, got, want, s.succeed(t, "image", "diff", "one", name))
		}
	}
}

// TestSquashfs: it keeps seconds, and neither ACLs nor long times.
func TestSquashfs(t *testing.T) {
	s, file := newOverlay(t), filepath.Join(t.TempDir(), "image.squashfs")
	dir := tree(t, program+"mkdir -p a/b; echo text >a/file; ln a/file a/hard; ln -s file a/soft; chown 12:34 a/file; chmod 4751 a/file; setfattr -n user.note -v value a/file; mknod null c 1 3; find . -exec touch -h -d @1234567890 {} +")
	kit.Command(t, "mksquashfs", dir, file, "-quiet", "-no-progress")
	s.succeed(t, "image", "import", "dir", dir)
	s.succeed(t, "image", "import", "file", file)
	if s.digest(t, "dir") != s.digest(t, "file") {
		t.Errorf("digests differ:\n%s", s.succeed(t, "image", "diff", "dir", "file"))
	}
	pipe := exec.Command("sh", "-c", "cat "+file+" | "+kit.Runtime+" image import --store "+s.path+" piped -")
	if r := kit.Do(t, pipe); r.Code != 0 || s.digest(t, "piped") != s.digest(t, "file") {
		t.Errorf("from a pipe: %+v", r)
	}
	s.clean(t)
}

// TestAnOCIImageIsUnpackedAsUmociDoes builds an image of several layers with umoci:
// files removed, directories made opaque, a directory that becomes a link.
func TestAnOCIImageIsUnpackedAsUmociDoes(t *testing.T) {
	s, work := newOverlay(t), t.TempDir()
	script := `cd $1; umoci init --layout l; umoci new --image l:i; umoci unpack --image l:i b
		cd b/rootfs; ` + program + `mkdir -p etc/conf.d var/lib/x usr/lib; echo 1 >etc/a; echo 2 >etc/conf.d/b; echo 3 >etc/conf.d/c; echo 4 >var/lib/x/y; ln etc/a etc/hard; ln -s usr/lib lib; chmod 4755 etc/a
		setfattr -n user.note -v v etc/a; cd ../..; umoci repack --image l:i b
		rm -rf b; umoci unpack --image l:i b; cd b/rootfs; rm etc/conf.d/b; rm -r var/lib/x; echo new >var/lib/x; mkdir opt; echo o >opt/o; echo lib >lib/through; cd ../..; umoci repack --image l:i b
		rm -rf b; umoci unpack --image l:i b; cd b/rootfs; rm -r etc/conf.d; mkdir etc/conf.d; echo z >etc/conf.d/z; rm -r opt; ln -s srv opt; rm var/lib/x; cd ../..; umoci repack --image l:i b
		rm -rf b; umoci unpack --image l:i b; (cd l; tar -cf ../l.tar .); skopeo copy -q oci:l:i docker-archive:d.tar:name:tag`
	kit.Command(t, "sh", "-ec", script, "sh", work)
	s.succeed(t, "image", "import", "theirs", filepath.Join(work, "b", "rootfs"))
	for name, source := range map[string]string{"layout": "l", "tar": "l.tar", "docker": "d.tar"} {
		s.succeed(t, "image", "import", name, filepath.Join(work, source))
		if s.digest(t, name) != s.digest(t, "theirs") {
			t.Errorf("%s:\n%s", name, s.succeed(t, "image", "diff", "theirs", name))
		}
	}
	pipe := exec.Command("sh", "-c", "gzip -c "+work+"/l.tar | "+kit.Runtime+" image import --store "+s.path+" piped -")
	if r := kit.Do(t, pipe); r.Code != 0 || s.digest(t, "piped") != s.digest(t, "theirs") {
		t.Errorf("compressed, from a pipe: %+v", r)
	}
	// And the other way: what we write, umoci unpacks to the same.
	s.succeed(t, "image", "export", "--format", "oci", "layout", filepath.Join(work, "ours")+"/")
	kit.Command(t, "umoci", "unpack", "--image", filepath.Join(work, "ours")+":layout", filepath.Join(work, "again"))
	s.succeed(t, "image", "import", "again", filepath.Join(work, "again", "rootfs"))
	if s.digest(t, "again") != s.digest(t, "theirs") {
		t.Errorf("our layout:\n%s", s.succeed(t, "image", "diff", "theirs", "again"))
	}
	s.clean(t)
}

func TestSeveralImagesInOneLayout(t *testing.T) {
	s, work := newOverlay(t), t.TempDir()
	kit.Command(t, "sh", "-ec", `cd $1; umoci init --layout l
		for i in a b; do umoci new --image l:$i; umoci unpack --image l:$i $i; echo $i >$i/rootfs/what; umoci repack --image l:$i $i; done; umoci config --architecture 386 --image l:b`, "sh", work)
	layout := filepath.Join(work, "l")
	s.refuse(t, "choose with --ref or --arch", "image", "import", "one", layout)
	s.succeed(t, "image", "import", "--ref", "a", "a", layout)
	s.succeed(t, "image", "import", "--arch", "i386", "b", layout)
	s.refuse(t, "0 of its images", "image", "import", "--ref", "c", "c", layout)
	for name, want := range map[string]string{"a": "a\n", "b": "b\n"} {
		if data, err := os.ReadFile(filepath.Join(s.path, name, "current", "what")); err != nil || string(data) != want {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
}

// TestARealImageGoesRound: through tar, OCI layout and send, with the same digest, to
// both kinds of store.
func TestARealImageGoesRound(t *testing.T) {
	big := store{kit.Store, true}
	other := newOverlay(t)
	want := big.digest(t, kit.Sealed)
	for name, pipe := range map[string]string{
		"round-tar":  "image export " + kit.Sealed + " - | $R image import --store $2 $1 -",
		"round-oci":  "image export --format oci --compress none " + kit.Sealed + " - | $R image import --store $2 $1 -",
		"round-send": "image send " + kit.Sealed + " | $R image receive --name $1",
	} {
		s := other
		if name == "round-send" {
			s = big
		}
		r := kit.Do(t, exec.Command("sh", "-c", "R="+kit.Runtime+"; $R "+pipe, "sh", name, s.path))
		if r.Code != 0 || s.digest(t, name) != want {
			t.Errorf("%s: %+v, want %s", name, r, want)
		}
		s.succeed(t, "image", "remove", name)
	}
}

// TestSendKeepsTheTimesOfTheTopDirectory, where the kernel's stream does not: many
// directories come after the last one that is in the top directory. So all that a
// launch needs is there, before.
func TestSendKeepsTheTimesOfTheTopDirectory(t *testing.T) {
	from, to := store{kit.NewStore(t), true}, store{kit.NewStore(t), true}
	dir := t.TempDir()
	kit.Command(t, "sh", "-ec", "cd "+dir+`; mkdir -p dev etc home opt proc run sys tmp usr var/tmp zoo; i=0; while [ $i -lt 300 ]; do mkdir zoo/$i; i=$((i+1)); done
		touch etc/passwd etc/group etc/resolv.conf etc/localtime; for d in zoo/*; do echo $d >$d/file; done; touch -d 2020-02-02 .`)
	from.succeed(t, "image", "import", "many", dir)
	from.succeed(t, "image", "create", "many", "--next", recipe(t, "from = \"many\"\n[[file]]\npath = \"/zoo/7/more\"\ncontent = \"x\"\n"))
	for _, args := range []string{"many@1", "--parent 1 many@2"} {
		kit.Command(t, "sh", "-c", kit.Runtime+" image send --store "+from.path+" "+args+" | "+kit.Runtime+" image receive --store "+to.path)
	}
	if from.digest(t, "many") != to.digest(t, "many") {
		t.Error("the digest is another")
	}
}

// receiveIn has a store receive a stream.
func receiveIn(t *testing.T, to store, stream string, flags ...string) kit.Result {
	t.Helper()
	cmd := exec.Command(kit.Runtime, append([]string{"image", "receive", "--store", to.path}, flags...)...)
	cmd.Stdin = strings.NewReader(stream)
	return kit.Do(t, cmd)
}

func TestSendIsIncrementalAndChecked(t *testing.T) {
	from, to := store{kit.NewStore(t), true}, store{kit.NewStore(t), true}
	from.small(t, "one", "first")
	for i := range 3 {
		from.succeed(t, "image", "create", "one", "--next", recipe(t, "from = \"one\"\n[[file]]\npath = \"/srv/what\"\ncontent = \"change"+itoa(i)+"\"\n"))
	}
	send := func(args string) kit.Result {
		return kit.Do(t, exec.Command("sh", "-c", kit.Runtime+" image send --store "+from.path+" "+args))
	}
	receive := func(stream string, flags ...string) kit.Result { return receiveIn(t, to, stream, flags...) }
	full, step := send("one@1").Out, send("--parent 1 one@2").Out
	if len(step) > len(full)/4 {
		t.Errorf("the increment has %d bytes, the whole %d", len(step), len(full))
	}
	if r := receive(step); r.Code != 125 || !strings.Contains(r.Err, "send that first") {
		t.Errorf("without what it builds on: %+v", r)
	}
	for _, stream := range []string{full, step, send("--parent 2 one").Out} {
		if r := receive(stream); r.Code != 0 {
			t.Errorf("%+v", r)
		}
	}
	if from.digest(t, "one") != to.digest(t, "one") || len(to.history(t, "one")) != 3 {
		t.Errorf("arrived: %+v", to.history(t, "one"))
	}
	if r := receive(full); r.Code != 125 || !strings.Contains(r.Err, "here already, as one@1") {
		t.Errorf("twice: %+v", r)
	}
	if r := receive(full, "--name", "two"); r.Code != 0 {
		t.Errorf("by another name: %+v", r)
	}
	lie := strings.Replace(full, from.history(t, "one")[0].Digest, "sha256:"+strings.Repeat("0", 64), 1)
	for what, stream := range map[string]string{"nothing": "", "text": "hello\n", "half": full[:len(full)/2], "another digest": lie, "a header alone": full[:strings.Index(full, "\n")+1]} {
		if r := receive(stream, "--name", "bad"); r.Code != 125 || strings.Count(r.Err, "\n") != 1 {
			t.Errorf("%s: %+v", what, r)
		}
	}
	to.refuse(t, "unknown image bad", "image", "inspect", "bad")
	to.clean(t)
	overlay := newOverlay(t)
	if r := receiveIn(t, overlay, full); r.Code != 125 || !strings.Contains(r.Err, "the store is not on BTRFS: `runtime image send --archive`") {
		t.Errorf("where no stream can be received: %+v", r)
	}
	if r := receiveIn(t, overlay, send("--archive one@1").Out); r.Code != 0 || overlay.digest(t, "one") != from.history(t, "one")[0].Digest {
		t.Errorf("an archive: %+v", r)
	}
}
