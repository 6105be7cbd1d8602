package nearest

import (
	"strings"
	"testing"
)

func TestTo(t *testing.T) {
	for _, c := range []struct{ word, known, want string }{
		{"rum", "run shell ps", "run"},
		{"deb12-amd46", "deb11-amd64 deb12-amd64 deb12-i386", "deb12-amd64"},
		{"imagelist", "image list", ""},
		{"", "run", ""},
		{"x", "y", ""},
		{"r", "run", ""},
		{"timout", "time timeout tmpfs", "timeout"},
		{"hlep", "help", "help"},
		{"frobnicate", "run shell", ""},
		{strings.Repeat("x", 1<<20), "run " + strings.Repeat("y", 1<<20), ""},
		{"run", "run", ""},
	} {
		if got := To(c.word, strings.Fields(c.known)); got != c.want {
			t.Errorf("%.20q of %.40q: %q, want %q", c.word, c.known, got, c.want)
		}
	}
	if got := Advice("rum", []string{"run"}, func(s string) string { return "`" + s + "`" }); got != "; did you mean `run`?" {
		t.Error(got)
	}
}
