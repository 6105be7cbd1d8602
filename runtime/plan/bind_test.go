package plan

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseBind(t *testing.T) {
	for _, c := range []struct{ text, source, destination string }{
		{"/srv/sdk", "/srv/sdk", "/srv/sdk"},
		{"/srv/sdk:/sdk", "/srv/sdk", "/sdk"},
		{"sdk:/sdk", "/work/sdk", "/sdk"},
		{"../sdk/", "/sdk", "/sdk"},
		{`/a\:b:/c\:d`, "/a:b", "/c:d"},
		{`/a\\b`, `/a\b`, `/a\b`},
		{"/a//b/./c:/x//y/", "/a/b/c", "/x/y"},
	} {
		got, err := ParseBind(c.text, "/work", true)
		if want := (Bind{c.source, c.destination, true}); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", c.text, got, err, want)
		}
	}
	for text, complaint := range map[string]string{
		"": "empty", ":/x": "empty", "/a:/b:/c": "want SRC[:DST]", `/a\`: "backslash", "/a:b": "not absolute",
		"/a:/b/../c": `".."`, "/a:/": "root directory", "/a:/proc": "/proc", "/a:/sys/x": "/sys", "/a:/dev//x": "/dev", "/a\x00b": "NUL",
	} {
		if _, err := ParseBind(text, "/work", true); err == nil || !strings.Contains(err.Error(), complaint) {
			t.Errorf("%q: %v, want a complaint with %q", text, err, complaint)
		}
	}
}

func TestParseTmpfs(t *testing.T) {
	got, err := ParseTmpfs("/scratch:size=1g,mode=0700")
	want := Tmpfs{"/scratch", []string{"size=1g", "mode=0700"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{"", "relative", "/", "/proc", "/a:b:c"} {
		if _, err := ParseTmpfs(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}
