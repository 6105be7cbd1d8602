package reports

import (
	"os/exec"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

func TestNoNewPrivileges(t *testing.T) {
	const told = "no_new_privs is set for this process, as by systemd's NoNewPrivileges= and what implies it, and in many containers: no grant can have an effect"
	const without = `cd /home; setpriv --no-new-privs `
	hold(t, []report{
		{name: "run tells of no_new_privs first", source: "systemd: service with NoNewPrivileges cannot sudo; bubblewrap: setuid ineffective",
			do: without + `$R $T -- true`, code: 125, err: "runtime: runtime has no privilege: " + told},
		{name: "so does ps", source: "podman: newuidmap fails under no_new_privs",
			do: without + `runtime ps`, code: 125, err: "runtime: runtime has no privilege: " + told},
		{name: "so does grant --check", source: "sudo: effective uid is not 0 (no_new_privs)",
			do: without + `runtime grant --check | tail -1`, out: "policy       1 rules in /etc/mayfly\n", err: "runtime: runtime has no privilege: " + told},
		{name: "so does doctor", source: "sudo: effective uid is not 0 (no_new_privs)",
			do: without + `runtime doctor | grep -A1 "WRONG.*grant.*no_new_privs is set" | grep -c "call it from where that is not so"`, out: "1\n"},
		{name: "a grant that works is not blamed", source: "control",
			do: `cd /home; runtime grant --check | tail -1; runtime doctor | grep -c no_new_privs`, out: "all is well\n0\n", code: 1},
	})
}

// A service with ProtectSystem=strict sees the host read-only.
func TestAReadOnlyHost(t *testing.T) {
	for dir, want := range map[string]string{
		"/run":    "ReadWritePaths=/run/mayfly\n",
		kit.Store: "ReadWritePaths=" + kit.Store + "\n",
	} {
		if dir == kit.Store && kit.Image == kit.Sealed {
			continue // which nothing is written for
		}
		as := kit.As(t, kit.User, "true")
		cmd := exec.Command("unshare", "--mount", "sh", "-ec", `mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"
			exec setpriv --reuid=`+kit.User+` --regid=`+kit.User+` --init-groups "$@"`, dir, kit.Runtime, "run", kit.Image, "--", "true")
		cmd.Env, cmd.Dir = as.Env, "/home"
		r := kit.Do(t, cmd)
		if r.Code != 125 || !strings.HasSuffix(r.Err, want) || strings.Count(r.Err, "\n") != 1 {
			t.Errorf("%s read-only: %+v, want %q", dir, r, want)
		}
	}
	kit.NothingLeft(t)
}
