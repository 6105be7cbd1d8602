package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestVolume(t *testing.T) {
	for text, want := range map[string]string{
		"/a:/b":      "rw /a:/b",
		"/a:/b:rw":   "rw /a:/b",
		"./a:/b:ro":  "ro ./a:/b",
		`/a\b:/c`:    `rw /a\\b:/c`,
		"..:/b":      "rw ..:/b",
		"/a":         "there are no volumes here",
		"data:/b":    "is no path",
		"/a:/b:Z":    `option "Z" has no meaning here`,
		"/a:/b:":     `option "" has no meaning here`,
		"/a:b:/c:rw": "--bind takes paths with a colon",
	} {
		var o options
		got := ""
		if err := o.volume(text); err != nil {
			got = err.Error()
		}
		for _, b := range o.binds {
			got += "rw " + b
		}
		for _, b := range o.bindsReadOnly {
			got += "ro " + b
		}
		if got != want && !(got != "" && strings.Contains(got, want) && !strings.Contains(want, ":/")) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestAFileOfVariables(t *testing.T) {
	name := filepath.Join(t.TempDir(), "env")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# a comment\n\nA=1\r\n  B=\"2 # 3\" \nC\nD=")
	o := options{envFiles: []string{name}, env: []string{"A=2"}}
	err := o.readEnvironment()
	got := o.env
	if want := []string{"A=1", `B="2 # 3" `, "C", "D=", "A=2"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	for text, want := range map[string]string{
		"=x":                             ":1: want NAME=VALUE",
		"A=1\nexport B=2\n":              ":2: want NAME=VALUE",
		"A=1\x00":                        ":1: want NAME=VALUE",
		strings.Repeat("A=1\n", 1<<20+1): "is longer than",
	} {
		write(text)
		if _, err := readVariables(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", text, err, want)
		}
	}
	if _, err := readVariables(t.TempDir()); err == nil {
		t.Error("a directory is read")
	}
}

func TestWhatFollowsTheImage(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"image --bind /a make", "--bind follows the image image: flags come before it"},
		{"image -it bash", "-it follows the image image: flags come before it"},
		{"image --help", "--help follows the image image: flags come before it"},
		{"image -- --bind /a", ""},
		{"image --nosuch", ""},
		{"image make --bind", ""},
	} {
		flags := newFlags("run")
		declare(flags)
		got := ""
		if _, _, err := split(flags, "image", strings.Fields(c.args)); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.args, got, c.want)
		}
	}
}

func TestFlagsOfPodman(t *testing.T) {
	flags := newFlags("run")
	declare(flags)
	for _, name := range []string{"workdir", "interactive", "rm", "volume", "env-file"} {
		if flags.Lookup(name) == nil {
			t.Errorf("there is no --%s", name)
		}
	}
	if err := parse(flags, strings.Fields("-it --rm -eA=1 -e B -w /x -v /a:/b:ro -u 0 -m 1G -p 80:80 image")); err != nil {
		t.Error(err)
	}
}
