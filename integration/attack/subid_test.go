package attack

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mayfly/integration/kit"
)

// Root inside gets ids of nobody's, also where NSS knows of more users than the files.
// The test stands in for a source of NSS, in a mount namespace of its own.
func TestI21SubordinateIDsOfOthers(t *testing.T) {
	w := ways[0]
	t.Cleanup(func() { kit.Must(t, w.setUp()) })
	rule(t, kit.AllModes)
	kit.Must(t, w.setUp()) // the grant depends on the policy
	top := directory(t, "/var/tmp", kit.User)
	kit.Must(t, unix.Chmod(top, 0o755))
	getent, sources := filepath.Join(top, "getent"), filepath.Join(top, "nsswitch.conf")
	write(t, sources, "passwd: files directory\ngroup: files\n")
	run := func(answer string) kit.Result {
		write(t, getent, "#!/bin/sh\n"+answer+"\nexit 2\n")
		kit.Must(t, unix.Chmod(getent, 0o755))
		script := `mount --bind "$0/getent" /usr/bin/getent; mount --bind "$0/nsswitch.conf" /etc/nsswitch.conf
			exec setpriv --reuid ` + kit.User + ` --regid ` + kit.User + ` --init-groups -- "$@"`
		args := append([]string{"--mount", "sh", "-ec", script, top}, w.args("run", "--root", kit.Image, "true")...)
		cmd := exec.Command("unshare", args...)
		cmd.Dir = "/"
		return kit.Do(t, cmd)
	}
	if r := run(""); r.Code != 0 {
		t.Errorf("nobody has them: %+v", r)
	}
	first := subordinate(t, kit.User)
	refused(t, "an id that is enumerated", run(`[ $# -gt 1 ] || echo "ann:*:`+first+`1:100::/:/bin/sh"`), "have the id of ann")
	refused(t, "the first id, which is asked for", run(`[ $# = 1 ] || [ $2 != `+first+`0 ] || echo "ann:*:`+first+`0:100::/:/bin/sh"`), "have the id of ann")
	kit.NothingLeft(t)
}

// subordinate is the first subordinate id of a user, without its last digit, which is
// 0.
func subordinate(t *testing.T, user string) string {
	t.Helper()
	out, err := exec.Command("sh", "-ec", "sed -n 's/^"+user+":\\([0-9]*\\)0:.*/\\1/p' /etc/subuid").Output()
	kit.Must(t, err)
	return strings.TrimSpace(string(out))
}
