package plan

import (
	"slices"
	"testing"
)

func TestALocaleThatIsMissingIsC(t *testing.T) {
	f := facts()
	f.Caller.Env = []string{"LANG=de_DE.UTF-8", "LC_TIME=fr_FR.UTF-8", "LC_ALL=", "LC_CTYPE=C"}
	f.Policy.Env = []string{"LANG", "LC_*"}
	f.NoLocales = []string{"de_DE.UTF-8"}
	p := plan(t, Request{Image: "i", Env: []string{"LC_NUMERIC=de_DE.UTF-8"}}, f)
	for _, entry := range []string{"LANG=C.UTF-8", "LC_TIME=fr_FR.UTF-8", "LC_ALL=", "LC_CTYPE=C", "LC_NUMERIC=de_DE.UTF-8"} {
		if !slices.Contains(p.Spec.Process.Env, entry) {
			t.Errorf("no %s in %q", entry, p.Spec.Process.Env)
		}
	}
	if want := []string{"the image has no locale de_DE.UTF-8: inside LANG is C.UTF-8"}; !slices.Equal(p.Notes, want) {
		t.Errorf("%q", p.Notes)
	}
}

func TestATerminalThatIsNotKnownIsAnotherOne(t *testing.T) {
	all := []string{"/lib/terminfo/x/xterm", "/usr/share/terminfo/78/xterm-256color", "/lib/terminfo/s/screen"}
	for _, c := range []struct {
		files      []string
		term, want string
	}{
		{all, "xterm-kitty", "xterm-256color"}, {all[:1], "xterm-kitty", "xterm"}, {nil, "xterm-kitty", "xterm-kitty"},
		{all, "xterm-256color", "xterm-256color"}, {all[:1], "xterm-256color", "xterm"},
		{all, "tmux-256color", "screen"}, {all, "dumb", "dumb"}, {all, "", ""}, {all, "../x", "../x"}, {all, "..", ".."},
	} {
		if got := FallbackTerm(c.term, func(name string) bool { return slices.Contains(c.files, name) }); got != c.want {
			t.Errorf("%q of %q: %q, want %q", c.term, c.files, got, c.want)
		}
	}
}
