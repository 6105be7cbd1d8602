package cgroup

import (
	"os"
	"path/filepath"
	"testing"
)

func TestBusLabel(t *testing.T) {
	for name, want := range map[string]string{
		"mayfly-1000-a.scope": "mayfly_2d1000_2da_2escope",
		"0a_b":                "_30a_5fb",
		"Zz9":                 "Zz9",
	} {
		if got := busLabel(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestParseProperty(t *testing.T) {
	for printed, want := range map[string]string{
		"s \"/user.slice/user-1000.slice/mayfly-1000-a.scope\"\n": "/user.slice/user-1000.slice/mayfly-1000-a.scope",
		"s \"\"\n":             "",
		`s "/a\\x2db/c.scope"`: `/a\x2db/c.scope`,
	} {
		if got, err := parseProperty(printed); err != nil || got != want {
			t.Errorf("%q: %q, %v", printed, got, err)
		}
	}
	for _, bad := range []string{"", "s", "u 5", `s "/a`, `s /a`, `as 1 "/a"`, `s "/a" "/b"`} {
		if got, err := parseProperty(bad); err == nil {
			t.Errorf("%q: %q", bad, got)
		}
	}
}

// A group of somebody else's, in the middle of the way too, or open to others, is no
// group of root's.
func TestGroupsOfOthersAreNotBelieved(t *testing.T) {
	root := t.TempDir()
	group := filepath.Join(root, "user.slice", "user-1000.slice", "mayfly-1000-a.scope")
	if err := os.MkdirAll(group, 0o755); err != nil {
		t.Fatal(err)
	}
	uid := uint32(os.Getuid())
	if err := rootsAlone(root, group, uid); err != nil {
		t.Error(err)
	}
	if err := rootsAlone(root, group, uid+1); err == nil {
		t.Error("it belongs to another, and is believed")
	}
	for _, dir := range []string{group, filepath.Dir(group), root} {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := rootsAlone(root, group, uid); err == nil {
			t.Errorf("%s is everybody's to write, and is believed", dir)
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(group, filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "nosuch"} {
		if err := rootsAlone(root, filepath.Join(root, name), uid); err == nil {
			t.Errorf("%s is believed", name)
		}
	}
}
