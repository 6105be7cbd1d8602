package attack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mayfly/integration/kit"
)

// An entry is a header of a hostile archive and its content.
type entry struct {
	tar.Header
	content string
}

func file(name, content string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))}, content}
}

func dirEntry(name string) entry {
	return entry{tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}, ""}
}

func symlink(name, target string) entry {
	return entry{tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, ""}
}

func hardlink(name, target string) entry {
	return entry{tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644}, ""}
}

func with(e entry, change func(*tar.Header)) entry {
	change(&e.Header)
	return e
}

func tarOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		kit.Must(t, w.WriteHeader(&e.Header))
		_, err := io.WriteString(w, e.content)
		kit.Must(t, err)
	}
	kit.Must(t, w.Close())
	return out.Bytes()
}

// raw writes headers as they are, which the library would not: octal fields of a v7
// archive.
func raw(name string, kind byte, size string, link string) []byte {
	var b [512]byte
	copy(b[0:], name)
	copy(b[100:], "0000644\x00")
	copy(b[108:], "0000000\x00")
	copy(b[116:], "0000000\x00")
	copy(b[124:], size)
	copy(b[136:], "00000000000\x00")
	b[156] = kind
	copy(b[157:], link)
	copy(b[148:], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b[:]
}

func compressed(t *testing.T, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(data)
	kit.Must(t, err)
	kit.Must(t, w.Close())
	return out.Bytes()
}

// An archive may be anybody's, and is read by root. What it holds is refused or stays
// in the image; nothing half-made stays.
func TestM04HostileArchives(t *testing.T) {
	outside := t.TempDir()
	kit.Must(t, os.Chmod(outside, 0o755))
	victim := filepath.Join(outside, "victim")
	kit.Must(t, os.WriteFile(victim, []byte("untouched"), 0o644))
	up := strings.Repeat("../", 40) + strings.TrimPrefix(outside, "/")
	many := func() []byte {
		var list []entry
		for i := range kit.Rounds(100_000, 1_000_000) {
			list = append(list, file(fmt.Sprintf("d%d/f%d", i/1000, i), ""))
		}
		return compressed(t, tarOf(t, list...))
	}
	for _, c := range []struct {
		what string
		data []byte
		err  string // refused with this; "": contained
	}{
		{"a name that climbs", tarOf(t, file(up+"/made", "x")), `".."`},
		{"a name that climbs in the middle", tarOf(t, dirEntry("a/"), file("a/../../made", "x")), `".."`},
		{"an absolute name", tarOf(t, file(outside+"/made", "x")), ""},
		{"an absolute name that is there", tarOf(t, file(victim, "x")), ""},
		{"a hard link to the host's", tarOf(t, hardlink("victim", victim)), "no such file"},
		{"a hard link that climbs", tarOf(t, hardlink("victim", up+"/victim")), `".."`},
		{"a hard link through a link", tarOf(t, symlink("out", outside), hardlink("h", "out/victim")), "no such file"},
		{"a hard link to a link, and a file over it", tarOf(t, symlink("l", victim), hardlink("h", "l"), file("h", "x")), ""},
		{"a link and a file through it", tarOf(t, symlink("out", outside), file("out/made", "x")), "out"},
		{"a link and a file over it", tarOf(t, symlink("out", victim), file("out", "x")), ""},
		{"a climbing link and a file through it", tarOf(t, symlink("out", up), file("out/made", "x")), "out"},
		{"a chain of links", tarOf(t, symlink("a", "b"), symlink("b", "c"), symlink("c", outside), file("a/made", "x")), "a"},
		{"a loop of links", tarOf(t, symlink("a", "b"), symlink("b", "a"), file("a/made", "x")), "a"},
		{"a link and a directory over it, with a mode", tarOf(t, symlink("out", outside), with(dirEntry("out/"), func(h *tar.Header) { h.Mode = 0o777 }), file("out/made", "x")), ""},
		{"the top as a link", tarOf(t, symlink("./", outside), file("made", "x")), "must be a directory"},
		{"through the host's proc", tarOf(t, symlink("p", "/proc/self/fd/0"), file("p/made", "x")), "p"},
		{"a device of a disk", tarOf(t, with(file("disk", ""), func(h *tar.Header) { h.Typeflag, h.Devmajor = tar.TypeBlock, 254 })), ""},
		{"a device out of range", tarOf(t, with(file("disk", ""), func(h *tar.Header) { h.Typeflag, h.Devmajor = tar.TypeBlock, 1<<20 })), "out of range"},
		{"a FIFO and a file through its name", tarOf(t, with(file("f", ""), func(h *tar.Header) { h.Typeflag = tar.TypeFifo }), file("f", "x")), ""},
		{"attributes that change an overlay", tarOf(t, with(file("f", "x"), func(h *tar.Header) {
			h.PAXRecords = map[string]string{"SCHILY.xattr.trusted.overlay.redirect": "/etc", "SCHILY.xattr.user.overlay.opaque": "y", "SCHILY.xattr.security.selinux": "x"}
		})), ""},
		{"an ACL of nonsense", tarOf(t, with(file("f", "x"), func(h *tar.Header) { h.PAXRecords = map[string]string{"SCHILY.acl.access": "user::::"} })), "posix_acl_access"},
		{"an attribute that is no ACL", tarOf(t, with(file("f", "x"), func(h *tar.Header) {
			h.PAXRecords = map[string]string{"SCHILY.xattr.system.posix_acl_access": "x"}
		})), "posix_acl_access"},
		{"an owner out of range", tarOf(t, with(file("f", "x"), func(h *tar.Header) { h.Uid, h.Format = math.MaxUint32, tar.FormatPAX })), "out of range"},
		{"a sparse bomb", sparse(t), "more content"},
		{"a file larger than all disks", raw("f", '0', "77777777777\x00", ""), "more content"},
		{"a negative size", raw("f", '0', "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", ""), "archive"},
		{"a member of an unknown kind", raw("f", 'Z', "00000000000\x00", ""), "not supported"},
		{"cut off in a file", tarOf(t, file("f", strings.Repeat("x", 5000)))[:2048], "unexpected EOF"},
		{"cut off in a header", tarOf(t, file("f", "x"))[:100], "archive"},
		{"cut off compressed", compressed(t, tarOf(t, file("f", strings.Repeat("x", 5000))))[:60], "archive"},
		{"compressed with a wrong checksum", damaged(compressed(t, tarOf(t, file("f", "x")))), "gzip"},
		{"no archive", []byte("hello"), "archive"},
		{"nothing", nil, "archive"},
		{"a name of 5000 letters", tarOf(t, file(strings.Repeat("n", 5000), "x")), "name too long"},
		{"a path of 10000 directories", tarOf(t, file(strings.Repeat("d/", 10000)+"f", "x")), "name too long"},
		{"very many files", many(), ""},
	} {
		name := filepath.Join(outside, "archive")
		kit.Must(t, os.WriteFile(name, c.data, 0o644))
		r := kit.DoWithin(t, kit.Within(10*time.Minute), exec.Command(kit.Runtime, "image", "import", "--max-size", "4G", "attack-archive", name)).WithoutProgress()
		kit.Must(t, os.Remove(name))
		if c.err != "" || r.Code != 0 {
			refused(t, c.what, r, c.err)
		}
		if r.Code == 0 {
			kit.Succeed(t, "image", "remove", "attack-archive")
		}
		if data, err := os.ReadFile(victim); err != nil || string(data) != "untouched" {
			t.Fatalf("%s: the host's file has %q, %v", c.what, data, err)
		}
		if list, err := os.ReadDir(outside); err != nil || len(list) != 1 {
			t.Fatalf("%s: on the host: %v, %v", c.what, list, err)
		}
		if info, err := os.Stat(outside); err != nil || info.Mode().Perm() != 0o755 {
			t.Fatalf("%s: mode of the host's directory %v, %v", c.what, info.Mode(), err)
		}
	}
	kit.NothingLeft(t)
	if list := kit.Succeed(t, "image", "list"); strings.Contains(list, "attack-archive") {
		t.Errorf("half an image is there:\n%s", list)
	}
}

// sparse is an archive of a file of a terabyte with nothing in it.
func sparse(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	kit.Must(t, os.Truncate(created(t, filepath.Join(dir, "bomb")), 1<<40))
	out, err := exec.Command("tar", "-C", dir, "-Sczf", "-", "bomb").Output()
	kit.Must(t, err)
	return out
}

func created(t *testing.T, name string) string {
	t.Helper()
	kit.Must(t, os.WriteFile(name, nil, 0o644))
	return name
}

func damaged(data []byte) []byte {
	data[len(data)-8] ^= 0xff
	return data
}
