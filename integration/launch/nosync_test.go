package launch

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

// syncer is a program whose file system would refuse fsync(2): of a pipe it fails with
// EINVAL, unless it does nothing.
const syncer = `#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#define _GNU_SOURCE
int syncfs(int);
int main(void) {
	int p[2];
	pipe(p);
	printf("%d %d %d %d\n", fsync(p[0]), fdatasync(p[0]), syncfs(-1), fsync(-1));
	sync();
	return 0;
}
`

func TestNoSync(t *testing.T) {
	dir := kit.StoreDirectory(t)
	kit.Must(t, os.Chmod(dir, 0o755))
	source := filepath.Join(dir, "sync.c")
	kit.Must(t, os.WriteFile(source, []byte(syncer), 0o644))
	build := func(flags ...string) string {
		binary := filepath.Join(dir, "sync"+strings.Join(flags, ""))
		out, err := exec.Command("gcc", append(flags, "-static", "-o", binary, source)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return binary
	}
	for _, flags := range [][]string{{}, {"--writable"}, {"--root"}, {"--network", "none"}} {
		for no, want := range map[string]string{"": "-1 -1 -1 -1\n", "--no-sync": "0 0 0 0\n"} {
			args := append([]string{"run", "--bind-ro", dir + ":/b"}, flags...)
			if no != "" {
				args = append(args, no)
			}
			r := kit.Run(t, append(args, kit.Image, "--", "/b/"+filepath.Base(build()))...)
			if r.Out != want || r.Code != 0 {
				t.Errorf("%q: %+v, want %q", args, r, want)
			}
		}
	}
	// A command that joins has the same.
	kit.Must(t, kit.As(t, kit.User, kit.Runtime, "run", "--detach", "--name", "nosync", "--no-sync", "--bind-ro", dir+":/b", kit.Image, "--", "sleep", "100").Run())
	defer kit.Run(t, "kill", "--signal", "KILL", "nosync")
	if r := kit.Run(t, "exec", "nosync", "/b/sync"); r.Out != "0 0 0 0\n" {
		t.Errorf("exec: %+v", r)
	}
}
