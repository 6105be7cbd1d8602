package attack

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mayfly/integration/kit"
)

// levels are more directories in each other than a process has descriptors, in a path
// that no call takes.
var levels = strconv.Itoa(kit.Rounds(3_000, 30_000))

// few runs the binary as root, with as many descriptors as a login session gives.
func few(t *testing.T, args ...string) kit.Result {
	t.Helper()
	args = append([]string{"prlimit", "--nofile=1024:1024", kit.Runtime}, args...)
	return kit.DoWithin(t, kit.Within(5*time.Minute), exec.Command(args[0], args[1:]...)).WithoutProgress()
}

// What a run leaves is removed, read and copied however deep it is.
func TestM12DeepTrees(t *testing.T) {
	program, err := os.ReadFile(helper)
	kit.Must(t, err)
	with := file("helper", string(program))
	with.Mode = 0o755
	for _, store := range []string{overlayStore(t), kit.NewStore(t)} {
		if r := importInto(t, store, tarOf(t, with, dirEntry("srv/"))); r.Code != 0 {
			t.Fatalf("%+v", r)
		}
		succeed := func(args ...string) {
			t.Helper()
			if r := few(t, args...); r.Code != 0 {
				t.Errorf("%q: %+v", args, r)
			}
		}
		succeed("run", "--store", store, "--writable", "attack", "/helper", "deep", "/srv", levels)
		if left := kit.Snapshots(t, store); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		// A root file system that somebody has made by hand is read, too. No archive
		// makes one that deep.
		plain := filepath.Join(store, "plain")
		if kit.Mounted(t, store) {
			kit.Command(t, "btrfs", "-q", "subvolume", "create", plain)
		} else {
			kit.Must(t, os.Mkdir(plain, 0o755))
		}
		kit.Command(t, helper, "deep", plain, "3000")
		out := filepath.Join(t.TempDir(), "out.tar")
		succeed("image", "export", "--store", store, "plain", out)
		if r := few(t, "image", "import", "--store", store, "again", out); r.Code != 125 || !strings.Contains(r.Err, "name too long") {
			t.Errorf("%d, %.500s", r.Code, r.Err)
		}
		succeed("image", "remove", "--store", store, "plain")
		if left := kit.Snapshots(t, store); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}

// So is what a user's run leaves, with what the grant gives; gc removes what a killed
// one does.
func TestM12DeepTreesOfUsers(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		flags := []string{"run", "--writable", "--bind-ro", helper + ":/mnt/helper", kit.Image, "/mnt/helper", "deep", "/var/tmp", levels}
		if r := w.run(t, flags...); r.Code != 0 {
			t.Errorf("%+v", r)
		}
	})
}
