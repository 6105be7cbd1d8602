package reports

import (
	"os/exec"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

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
