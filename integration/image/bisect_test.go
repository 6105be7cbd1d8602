package image

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

// An update that breaks a build is found among eight versions, in five runs.
func TestBisect(t *testing.T) {
	const name = "bisected"
	t.Cleanup(func() { kit.Root(t, "image", "remove", "--force", name) })
	kit.Succeed(t, "image", "create", name, "--from", kit.Base, "--run", "echo 1 >/srv/version")
	for v := 2; v <= 8; v++ {
		command := fmt.Sprintf("echo %d >/srv/version", v)
		if v == 6 {
			command += "; dpkg --force-all --purge file >/dev/null 2>&1"
		}
		kit.Succeed(t, "image", "create", name, "--next", "--from", name, "--run", command)
	}
	bisect := func(args ...string) kit.Result {
		return kit.Run(t, append([]string{"image", "bisect"}, args...)...)
	}
	const build = "cat /srv/version; file /bin/sh >/dev/null"
	for _, flags := range [][]string{{}, {"--good", "2"}, {"--good=3", "--bad", "7", "--writable"}} {
		r := bisect(append(append(flags, name), "--", "sh", "-c", build)...)
		if r.Code != 0 || !strings.Contains(r.Out, name+"@6 is the first version in which the command fails; in "+name+"@5 it succeeds\n") || !strings.Contains(r.Out, "package  removed  file") {
			t.Errorf("%q: %+v", flags, r)
		}
		if runs := strings.Count(r.Err, "succeeds") + strings.Count(r.Err, "fails with exit status"); runs > 5 {
			t.Errorf("%q: %d runs", flags, runs)
		}
	}
	r := bisect("--json", name, "--", "sh", "-c", build)
	var v struct {
		Good, Bad string
		Packages  []struct{ Name, From, To string }
	}
	if err := json.Unmarshal([]byte(r.Out[strings.Index(r.Out, "{"):]), &v); err != nil || v.Good != name+"@5" || v.Bad != name+"@6" || len(v.Packages) != 1 || v.Packages[0].Name != "file" {
		t.Errorf("%v: %+v", err, r)
	}
	for want, args := range map[string][]string{
		"the command fails in " + name + "@6 already": {"--good", "6", name, "--", "sh", "-c", build},
		"the command succeeds in " + name + "@5":      {"--bad", "5", name, "--", "sh", "-c", build},
		"there is no " + name + "@9":                  {"--bad", "9", name, "--", "true"},
		"there are no two versions":                   {"--good", "8", name, "--", "true"},
		"is one version":                              {name + "@2", "--", "true"},
		"unknown image":                               {"nosuch", "--", "true"},
		"no command given":                            {name},
		"no image given":                              {},
		"could not be tried":                          {"--bind", "/nosuch", name, "--", "true"},
		"make no sense here":                          {"--detach", name, "--", "true"},
	} {
		if r := bisect(args...); r.Code != 125 || !strings.Contains(r.Err, want) {
			t.Errorf("%q: %+v", args, r)
		}
	}
}
