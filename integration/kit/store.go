package kit

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mayfly/mount"
)

// StoreDirectory makes an empty directory for a store, not on BTRFS, and removes in the
// end what `store init` makes of it.
func StoreDirectory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/lib", "mayfly-store-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for Mounted(t, dir) {
			Command(t, "umount", dir)
		}
		for _, name := range []string{dir, dir + ".btrfs"} {
			if err := os.RemoveAll(name); err != nil {
				t.Error(err)
			}
		}
	})
	return dir
}

// NewStore makes a store of the smallest size.
func NewStore(t testing.TB) string {
	t.Helper()
	dir := StoreDirectory(t)
	Succeed(t, "store", "init", "--store", dir, "--size", "256M")
	return dir
}

// Mounted tells whether something is mounted on a directory.
func Mounted(t testing.TB, dir string) bool {
	t.Helper()
	return slices.ContainsFunc(Mounts(t), func(m mount.Info) bool { return m.Point == dir })
}

// Mounts lists what is mounted.
func Mounts(t testing.TB) []mount.Info {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	Must(t, err)
	list, err := mount.ParseInfo(string(text))
	Must(t, err)
	return list
}

// Command runs a program of the system, which must succeed.
func Command(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v: %s", args, err, out)
	}
}

// Succeed runs the binary as root, which must succeed, and returns its output.
func Succeed(t testing.TB, args ...string) string {
	t.Helper()
	r := Root(t, args...)
	if r.Code != 0 {
		t.Fatalf("%q: %+v", args, r)
	}
	return r.Out
}

// progress is what a command writes for each phase that takes its time.
var progress = regexp.MustCompile(`(?m)^(receive|compare|[a-z]+ \S+): (copy|check|download|unpack|configure|seal|read|write)\n`)

// WithoutProgress leaves out how far a command was, which a slow machine's have time to
// tell.
func (r Result) WithoutProgress() Result {
	r.Err = progress.ReplaceAllString(r.Err, "")
	return r
}

// Refuse runs a command that must fail with one line that has the text.
func Refuse(t testing.TB, text string, args ...string) {
	t.Helper()
	r := Root(t, args...).WithoutProgress()
	if r.Code != 125 || strings.Count(r.Err, "\n") != 1 || !strings.HasPrefix(r.Err, "runtime: ") || !strings.Contains(r.Err, text) {
		t.Errorf("%q: exit %d, stderr %q; want 125 and one line with %q", args, r.Code, r.Err, text)
	}
}
