package attack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mayfly/integration/kit"
)

// A caller who may move processes between control groups freezes PID 1 and kills the
// supervisor: the limits of the rule are kept all the same.
func TestC34FrozenPID1(t *testing.T) {
	root := hierarchy(t)
	theirs := filepath.Join(root, "attack-delegated")
	_, uid, gid := kit.Lookup(t, kit.User)
	for _, dir := range []string{theirs, theirs + "/work", theirs + "/frozen"} {
		kit.Must(t, os.Mkdir(dir, 0o755))
		for _, name := range []string{"", "cgroup.procs", "cgroup.freeze", "cgroup.threads", "cgroup.subtree_control"} {
			kit.Must(t, os.Chown(filepath.Join(dir, name), int(uid), int(gid)))
		}
	}
	t.Cleanup(func() {
		for _, dir := range []string{theirs + "/frozen", theirs + "/work", theirs} {
			_ = os.WriteFile(dir+"/cgroup.kill", []byte("1"), 0)
			kit.Eventually(t, dir+" is gone", func() bool { return os.Remove(dir) == nil || statOf(dir) != nil })
		}
	})
	each(t, func(t *testing.T, w way) {
		rule(t, allow+"limits = { time = \"2s\", containers = 1 }\n")
		script := "echo $$ >" + theirs + "/work/cgroup.procs; exec " + strings.Join(w.args("run", "--name", "frozen", kit.Image, "sleep", "600"), " ")
		cmd := w.as(t, kit.User, "sh", "-c", script)
		begin(t, cmd)
		supervisor := supervisorOf(t, cmd)
		freeze := "echo 1 >" + theirs + "/frozen/cgroup.freeze; for p in %s; do echo $p >" + theirs + "/frozen/cgroup.procs; done; kill -9 %d"
		_ = kit.Do(t, kit.As(t, kit.User, "sh", "-c", fmt.Sprintf(freeze, strings.Join(kit.Inits(t), " "), supervisor)))
		_ = cmd.Wait()
		kit.Eventually(t, "the container has ended", func() bool { return len(kit.Inits(t)) == 0 })
		kit.Must(t, os.WriteFile(theirs+"/frozen/cgroup.freeze", []byte("0"), 0))
		gc(t)
	})
}

// hierarchy is where control groups of version 2 are.
func hierarchy(t *testing.T) string {
	t.Helper()
	for _, place := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var fs unix.Statfs_t
		if unix.Statfs(place, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
			return place
		}
	}
	t.Fatal("control groups of version 2 are mounted nowhere")
	return ""
}
