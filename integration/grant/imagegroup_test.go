package grant

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/integration/kit"
	"mayfly/runtime/policy"
)

// Members of the policy's image-group change images as root does, and take nothing of
// their environment along.
func TestTheImageGroupChangesImages(t *testing.T) {
	tree, evil := t.TempDir(), t.TempDir()
	for _, dir := range []string{tree, evil} {
		kit.Must(t, os.Chmod(dir, 0o755))
	}
	trap := "#!/bin/sh\ntouch " + evil + "/sprung\nexec /usr/bin/gzip \"$@\"\n"
	kit.Must(t, os.WriteFile(filepath.Join(evil, "gzip"), []byte(trap), 0o755))
	kit.Must(t, os.Chmod(evil, 0o777))
	kit.Must(t, os.WriteFile(filepath.Join(tree, "file"), []byte("text"), 0o644))
	archive := filepath.Join(evil, "a.tar.gz")
	kit.Must(t, exec.Command("tar", "-C", tree, "-czf", archive, ".").Run())
	defer func() { _ = exec.Command(kit.Runtime, "image", "remove", "group-image").Run() }()

	as := func(name string, args ...string) kit.Result {
		cmd := kit.As(t, name, append([]string{kit.Runtime, "image"}, args...)...)
		cmd.Env = append(cmd.Env, "PATH="+evil+":/usr/bin:/bin", "TMPDIR="+evil, "GODEBUG=x=y", "LD_PRELOAD="+evil+"/x.so")
		return kit.Do(t, cmd)
	}
	if r := as(kit.User, "import", "group-image", archive); r.Code != 125 || !strings.Contains(r.Err, "can name an image-group") {
		t.Errorf("without a group: %+v", r)
	}
	before, err := os.ReadFile(policy.File)
	kit.Must(t, err)
	defer func() { kit.Must(t, os.WriteFile(policy.File, before, 0o644)) }()
	kit.Must(t, os.WriteFile(policy.File, append([]byte("image-group = \""+kit.Group+"\"\n"), before...), 0o644))
	if r := as(kit.Other, "import", "group-image", archive); r.Code != 125 || !strings.Contains(r.Err, "members of the group "+kit.Group) {
		t.Errorf("not a member: %+v", r)
	}
	if r := as(kit.User, "import", "group-image", archive); r.Code != 0 {
		t.Errorf("a member: %+v", r)
	}
	if _, err := os.Stat(filepath.Join(evil, "sprung")); err == nil {
		t.Error("a program of the caller's PATH was executed")
	}
	if r := as(kit.User, "remove", "group-image"); r.Code != 0 {
		t.Errorf("a member removes it: %+v", r)
	}
	for _, args := range [][]string{{"list"}, {"history", kit.Sealed}} {
		if r := as(kit.Other, args...); r.Code != 0 {
			t.Errorf("%q, for everybody: %+v", args, r)
		}
	}
}
