package launch

import (
	"strings"
	"testing"

	"mayfly/integration/kit"
)

func TestDiscardKeepsASessionAsItIs(t *testing.T) {
	if r := kit.Run(t, "session", "begin", "--name", "discarded", kit.Image); r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	defer kit.Run(t, "session", "end", "discarded")
	run := func(flags, script string) kit.Result {
		return kit.Run(t, append(append([]string{"run", "--session", "discarded"}, strings.Fields(flags)...), "--", "sh", "-c", script)...)
	}
	if r := run("--root", "echo kept >/srv/file"); r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	for _, flags := range []string{"--discard", "--discard --root", "--discard --no-host-binds --chdir /"} {
		if r := run(flags, "cat /srv/file; rm -f /srv/file; touch /srv/new 2>/dev/null; [ -e /srv/new ] && echo writable"); !strings.HasPrefix(r.Out, "kept\n") {
			t.Errorf("%s: %+v", flags, r)
		}
	}
	if r := run("", "cat /srv/file; ls /srv"); r.Out != "kept\nfile\n" || r.Code != 0 {
		t.Errorf("%+v", r)
	}
	if r := run("--discard", "echo $MAYFLY_IMAGE"); !strings.HasPrefix(r.Out, kit.Image) {
		t.Errorf("%+v", r)
	}
	// In use, it cannot be ended.
	hold := kit.Run(t, "run", "--detach", "--name", "holds", "--session", "discarded", "--discard", "--", "sleep", "100")
	if hold.Code != 0 {
		t.Fatalf("%+v", hold)
	}
	if r := kit.Run(t, "session", "end", "discarded"); r.Code == 0 {
		t.Errorf("it is ended while it is used: %+v", r)
	}
	if r := kit.Run(t, "kill", "--signal", "KILL", "holds"); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	for _, bad := range [][]string{{"--discard", kit.Image}, {"--discard", "--writable", "--session", "discarded"}, {"--discard", "--session", "nosuch"}} {
		if r := kit.Run(t, append(append([]string{"run"}, bad...), "--", "true")...); r.Code != 125 || r.Err == "" {
			t.Errorf("%q: %+v", bad, r)
		}
	}
	kit.NothingLeft(t)
}
