package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"mayfly/runtime/here"
)

func TestAnACLIsWhatTheKernelKeeps(t *testing.T) {
	// What setfacl -m u:1234:rwx,g:99:r makes of a directory of mode 0755, as getfattr
	// -e hex tells it.
	const want = "02000000" + "01000700ffffffff" + "02000700d2040000" + "04000500ffffffff" + "0800040063000000" + "10000700ffffffff" + "20000500ffffffff"
	for _, text := range []string{
		"user::rwx\nuser:1234:rwx\ngroup::r-x\ngroup:99:r--\nmask::rwx\nother::r-x\n",
		"user::rwx,user:name:rwx:1234,group::r-x,group:name:r--:99,mask::rwx,other::r-x",
		"user::rwx\t#effective:rwx\nuser:1234:rwx\n\n# comment\ngroup::r-x\ngroup:99:r--\nmask::rwx\nother::r-x",
	} {
		value, err := parseACL(text)
		if got := hex.EncodeToString([]byte(value)); err != nil || got != want {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
	for _, bad := range []string{"user", "user:rwx", "nobody::rwx", "user:name:rwx", "mask:1:rwx", "user:4294967296:rwx", "user:-1:r"} {
		if _, err := parseACL(bad); err == nil {
			t.Errorf("%q is an ACL", bad)
		}
	}
}

func TestNamesThatClimbAreRefused(t *testing.T) {
	for name, want := range map[string]string{"a": "a", "/a/b": "a/b", "./a/": "a", "": "", ".": "", "/": "", "//a///b": "a/b", "a..b/...": "a..b/..."} {
		if got, err := cleanName(name); err != nil || got != want {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
	for _, bad := range []string{"..", "../a", "a/..", "a/../b", "/..", "a/b/../../.."} {
		if got, err := cleanName(bad); err == nil {
			t.Errorf("%q is %q", bad, got)
		}
	}
}

// archive writes a seed for the fuzzer.
func archive(headers ...tar.Header) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range headers {
		h.Uid, h.Gid = os.Getuid(), os.Getgid()
		_ = w.WriteHeader(&h)
		_, _ = w.Write(bytes.Repeat([]byte("x"), int(h.Size)))
	}
	_ = w.Close()
	return out.Bytes()
}

// FuzzExtract: whatever an archive says, nothing outside of the directory is made,
// changed or removed.
func FuzzExtract(f *testing.F) {
	f.Add(archive(tar.Header{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o755}, tar.Header{Typeflag: tar.TypeReg, Name: "d/f", Size: 3, Mode: 0o644}), false)
	f.Add(archive(tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "../outside"}, tar.Header{Typeflag: tar.TypeReg, Name: "l/f", Size: 1}), true)
	f.Add(archive(tar.Header{Typeflag: tar.TypeLink, Name: "h", Linkname: "../outside/victim"}), false)
	f.Add(archive(tar.Header{Typeflag: tar.TypeReg, Name: "d/f"}, tar.Header{Typeflag: tar.TypeReg, Name: "d/.wh.f"}, tar.Header{Typeflag: tar.TypeReg, Name: ".wh..wh..opq"}), true)
	f.Add(archive(tar.Header{Typeflag: tar.TypeReg, Name: "f", PAXRecords: map[string]string{"SCHILY.acl.access": "user::rwx", "SCHILY.xattr.user.a": "b"}, Format: tar.FormatPAX}), false)
	f.Add(archive(tar.Header{Typeflag: tar.TypeFifo, Name: "p"}, tar.Header{Typeflag: tar.TypeSymlink, Name: "p", Linkname: "x"}, tar.Header{Typeflag: tar.TypeDir, Name: "p"}), true)
	f.Fuzz(func(t *testing.T, data []byte, layer bool) {
		dir := t.TempDir()
		top, outside := filepath.Join(dir, "top"), filepath.Join(dir, "outside")
		victim := filepath.Join(outside, "victim")
		for _, name := range []string{top, outside} {
			if err := os.Mkdir(name, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(victim, []byte("untouched"), 0o644); err != nil {
			t.Fatal(err)
		}
		root, err := os.Open(top)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		x, err := NewExtractor(here.Here{}, int(root.Fd()), dir, &Limits{Bytes: 1 << 20, Entries: 100}, nil)
		if err != nil {
			t.Fatal(err)
		}
		extract := x.Extract
		if layer {
			extract = x.ExtractLayer
		}
		if extract(context.Background(), bytes.NewReader(data)) == nil {
			_ = x.Finish(context.Background())
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
		_ = os.Chmod(top, 0o700)
		list, err := os.ReadDir(dir)
		if err != nil || len(list) != 2 {
			t.Errorf("beside the directory: %v, %v", list, err)
		}
		inside, err := os.ReadDir(outside)
		text, read := os.ReadFile(victim)
		if err != nil || read != nil || len(inside) != 1 || string(text) != "untouched" {
			t.Errorf("outside: %v, %q, %v, %v", inside, text, err, read)
		}
		if info, err := os.Stat(victim); err != nil || info.Mode() != 0o644 {
			t.Errorf("outside: %v, %v", info.Mode(), err)
		}
	})
}

func FuzzACL(f *testing.F) {
	f.Add("user::rwx,user:1:r,group::r-x,mask::r,other::r")
	f.Fuzz(func(t *testing.T, text string) {
		value, err := parseACL(text)
		if err == nil && (len(value)-4)%8 != 0 {
			t.Errorf("%q: %d bytes", text, len(value))
		}
	})
}
