package policy

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestParse(t *testing.T) {
	p, err := Parse("policy.toml", []byte("store = \"/srv/images\"\nbind = []\n"))
	if err != nil || p.Store != "/srv/images" || len(p.Bind) != 0 || len(p.BindReadOnly) != 3 {
		t.Errorf("%+v, %v", p, err)
	}
	for text, place := range map[string]string{
		"stoer = \"/x\"":            "policy.toml:1:1",
		"\n\nstore = 5":             "policy.toml:3:",
		"store = \"/x":              "policy.toml:1:",
		"store = \"relative\"":      "not absolute",
		"bind = [\"\"]":             "not absolute",
		"store=\"/a\"\nstore=\"b\"": "policy.toml:2:",
	} {
		if _, err := Parse("policy.toml", []byte(text)); err == nil || !strings.Contains(err.Error(), place) {
			t.Errorf("%q: %v, want %q", text, err, place)
		}
	}
}

func TestOnlyATrustedFileIsRead(t *testing.T) {
	dir := t.TempDir()
	me := uint32(os.Getuid())
	good := filepath.Join(dir, "good")
	if err := os.WriteFile(good, []byte("store = \"/s\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if p, err := load(good, me); err != nil || p.Store != "/s" {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := load(good, me+1); err == nil {
		t.Error("a file of another owner is read")
	}
	writable, fifo, link := filepath.Join(dir, "writable"), filepath.Join(dir, "fifo"), filepath.Join(dir, "link")
	if err := os.WriteFile(writable, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(writable, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(good, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{writable, fifo, link, dir} {
		if _, err := load(name, me); err == nil {
			t.Errorf("%s is read", name)
		}
	}
	if p, err := load(filepath.Join(dir, "missing"), me); err != nil || p.Store != Default().Store {
		t.Errorf("without a file: %+v, %v", p, err)
	}
}
