package oci

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// layout writes a small layout of a directory with one file.
func layout(t testing.TB) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	top, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer top.Close()
	var out bytes.Buffer
	err = WriteTar(context.Background(), &out, Content{Reference: "name", Architecture: "386", Labels: map[string]string{"a": "b"},
		Created: time.Unix(1, 0), Compression: "none", Top: int(top.Fd()), Spool: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func open(t testing.TB, data []byte) (*Archive, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "archive")
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	return OpenTar(context.Background(), file)
}

func TestALayoutIsReadAsItWasWritten(t *testing.T) {
	a, err := open(t, layout(t))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	i, err := a.Find("", "")
	if err != nil || i.Name != "name" || i.Architecture != "386" || i.Labels["a"] != "b" || len(i.layers) != 1 {
		t.Errorf("%+v, %v", i, err)
	}
	for _, c := range [][2]string{{"other", ""}, {"", "amd64"}} {
		if _, err := a.Find(c[0], c[1]); err == nil || !strings.Contains(err.Error(), `"name" for "386"`) {
			t.Errorf("%q: %v", c, err)
		}
	}
}

func TestAWrongDigestIsFoundOut(t *testing.T) {
	data := bytes.Replace(layout(t), []byte(`"architecture":"386"`), []byte(`"architecture":"arm"`), 1)
	a, err := open(t, data)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if _, err := a.Find("", ""); err == nil || !strings.Contains(err.Error(), "wrong checksum") {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"", "sha256:", "sha256:00", "md5:00", "sha256:" + strings.Repeat("G", 64), "sha256:" + strings.Repeat("A", 64), "sha256:../" + strings.Repeat("0", 61)} {
		if name, err := blobName(bad); err == nil {
			t.Errorf("%q is %q", bad, name)
		}
	}
}

func FuzzLayout(f *testing.F) {
	f.Add(layout(f))
	f.Add([]byte("manifest.json"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := open(t, data)
		if err != nil {
			return
		}
		_, _ = a.Find("", "")
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
}
