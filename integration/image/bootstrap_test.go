package image

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

// A bootstrap program can use device nodes in what it makes, as debootstrap demands,
// though the store is mounted nodev.
func TestABootstrapProgramHasDevices(t *testing.T) {
	each(t, func(t *testing.T, s store) {
		programs := t.TempDir()
		const script = "#!/bin/sh -e\nfor a; do case $a in /*) d=$a;; esac; done\nmknod $d/null c 1 3\necho hello >$d/null\n"
		kit.Must(t, os.WriteFile(filepath.Join(programs, "mmdebstrap"), []byte(script), 0o755))
		cmd := exec.Command(kit.Runtime, "image", "create", "--store", s.path, "--suite", "sid", "made")
		cmd.Env = append(os.Environ(), "PATH="+programs+":"+os.Getenv("PATH"))
		if r := kit.Do(t, cmd); r.Code != 0 || !strings.HasPrefix(r.Out, "image made@1: ") {
			t.Errorf("%+v", r)
		}
		if err := os.WriteFile(filepath.Join(s.path, "made", "current", "null"), []byte("x"), 0o644); s.btrfs && err == nil {
			t.Error("the device works outside, too")
		}
	})
}
