package plan

import (
	"slices"
	"testing"
)

func TestSHELLNamesWhatRuns(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*Request, *Facts)
		want   string
	}{
		"the login shell":               {func(*Request, *Facts) {}, "/bin/bash"},
		"the image has no such shell":   {func(_ *Request, f *Facts) { f.NoShell = true }, "/bin/sh"},
		"a command by a login shell":    {func(r *Request, _ *Facts) { r.Command, r.Login = []string{"make"}, true }, "/bin/bash"},
		"by one without POSIX's syntax": {func(r *Request, f *Facts) { r.Command, r.Login, f.User.Shell = []string{"make"}, true, "/usr/bin/fish" }, "/bin/sh"},
		"a command":                     {func(r *Request, f *Facts) { r.Command, f.User.Shell = []string{"make"}, "/usr/bin/fish" }, "/usr/bin/fish"},
		"a command, no such shell":      {func(r *Request, f *Facts) { r.Command, f.NoShell = []string{"make"}, true }, "/bin/sh"},
		"what the caller has set":       {func(r *Request, _ *Facts) { r.Env = []string{"SHELL=/x"} }, "/x"},
		"a shell that is no path":       {func(_ *Request, f *Facts) { f.User.Shell = "" }, "/bin/sh"},
		"the caller's, where it passes": {func(r *Request, f *Facts) {
			r.Command, r.EnvAll, f.Caller.Env = []string{"make"}, true, []string{"SHELL=/bin/zsh"}
		}, "/bin/zsh"},
		"but not instead of what runs":    {func(r *Request, f *Facts) { r.EnvAll, f.Caller.Env = true, []string{"SHELL=/bin/zsh"} }, "/bin/bash"},
		"not where the policy forbids it": {func(r *Request, f *Facts) { r.Command, f.Caller.Env = []string{"make"}, []string{"SHELL=/bin/zsh"} }, "/bin/bash"},
	} {
		r, f := Request{Image: "i"}, facts()
		c.change(&r, &f)
		if got := Value(plan(t, r, f).Spec.Process.Env, "SHELL"); got != c.want {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
	env := []string{"A=1", "SHELL=/bin/zsh"}
	if got := WithShell(env, "/bin/zsh", "/bin/sh"); !slices.Equal(got, []string{"A=1", "SHELL=/bin/sh"}) || env[1] != "SHELL=/bin/zsh" {
		t.Errorf("%q of %q", got, env)
	}
	if got := WithShell(env, "/bin/fish", "/bin/sh"); !slices.Equal(got, env) {
		t.Errorf("%q", got)
	}
}
