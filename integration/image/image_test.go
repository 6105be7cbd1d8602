// Package image tests images as their administrator has them: versions, archives, other
// hosts, interruptions.
package image

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mayfly/integration/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// each runs a test on a store of each kind.
func each(t *testing.T, f func(t *testing.T, s store)) {
	t.Run("btrfs", func(t *testing.T) { f(t, store{kit.NewStore(t), true}) })
	t.Run("overlay", func(t *testing.T) { f(t, newOverlay(t)) })
}

// A store is where a test has its images.
type store struct {
	path  string
	btrfs bool
}

func newOverlay(t *testing.T) store {
	t.Helper()
	dir := kit.StoreDirectory(t)
	kit.Succeed(t, "store", "init", "--overlay", "--store", dir)
	return store{dir, false}
}

// succeed runs a command on the store, as root, which must succeed, and returns its
// output.
func (s store) succeed(t testing.TB, args ...string) string {
	t.Helper()
	return kit.Succeed(t, s.on(args)...)
}

// refuse runs a command on the store that must fail with one line that has the text.
func (s store) refuse(t testing.TB, text string, args ...string) {
	t.Helper()
	kit.Refuse(t, text, s.on(args)...)
}

// on puts the store's flag after the command's name.
func (s store) on(args []string) []string {
	names := 1
	if args[0] == "image" || args[0] == "store" {
		names = 2
	}
	return append(append(append([]string{}, args[:names]...), "--store", s.path), args[names:]...)
}

// tree makes a directory with a shell script that runs in it.
func tree(t testing.TB, script string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	kit.Command(t, "sh", "-ec", "cd "+dir+" && "+script)
	return dir
}

// program is a script that puts our own binary into a tree: an image of one static
// program.
var program = "install -D -m 0755 " + kit.Runtime + " bin/program; mkdir -p srv;"

// small makes an image of a program and a file srv/what with a text.
func (s store) small(t testing.TB, name, text string, flags ...string) {
	t.Helper()
	dir := tree(t, program+"echo "+text+" >srv/what")
	s.succeed(t, append(append([]string{"image", "import"}, flags...), name, dir)...)
}

// file reads srv/what of an image's version through the store.
func (s store) file(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.path, name, "current", "srv", "what"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

type record struct {
	LastUsed time.Time
	Version  int
	Digest   string
	Origin   string
	Labels   map[string]string
	Current  bool
	InUse    bool
	Tags     []string
}

func (s store) history(t testing.TB, name string) []record {
	t.Helper()
	var list []record
	if err := json.Unmarshal([]byte(s.succeed(t, "image", "history", "--json", name)), &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// digest is that of the current version.
func (s store) digest(t testing.TB, name string) string {
	t.Helper()
	for _, r := range s.history(t, name) {
		if r.Current {
			return r.Digest
		}
	}
	t.Fatalf("image %s has no current version", name)
	return ""
}

// clean checks that nothing unfinished is in the store.
func (s store) clean(t testing.TB) {
	t.Helper()
	if left := kit.Snapshots(t, s.path); len(left) > 0 {
		t.Errorf("left in %s: %q", s.path, left)
	}
}

// start starts a container that waits until the result is called.
func (s store) start(t testing.TB, args ...string) (stop func()) {
	t.Helper()
	cmd := exec.Command(kit.Runtime, append([]string{"run", "--store", s.path, "--chdir", "/"}, args...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kit.Eventually(t, "the container runs", func() bool {
		return exec.Command("pgrep", "-P", itoa(cmd.Process.Pid), "-f", "^/bin/program|^cat|^sh|^[^ ]*qemu-i386").Run() == nil
	})
	return func() {
		in.Close()
		_ = cmd.Wait()
	}
}
