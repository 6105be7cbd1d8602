package image

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mayfly/integration/kit"
)

// kills is how often a change is killed on each kind of store: each kind of change at
// least twice.
var kills = max(kit.Rounds(40, 100), 20)

// TestAKillAtAnyMomentLeavesTheOldStateOrTheNew kills changes of an image at random
// moments, with SIGKILL. The image is there afterwards, whole, in a version that it had
// before or was to get; gc removes what is left.
func TestAKillAtAnyMomentLeavesTheOldStateOrTheNew(t *testing.T) {
	each(t, func(t *testing.T, s store) {
		s.small(t, "one", "0")
		next := tree(t, program+"for d in $(seq 30); do mkdir -p d$d; for f in $(seq 30); do echo $f >d$d/$f; done; done; echo next >srv/what")
		archive := filepath.Join(t.TempDir(), "next.tar")
		kit.Command(t, "tar", "-C", next, "-cf", archive, ".")
		changed := recipe(t, "from = \"one\"\n[[file]]\npath = \"/srv/what\"\ncontent = \"next\"\n")
		changes := [][]string{
			{"image", "import", "--next", "one", archive}, {"image", "import", "--next", "one", next}, {"image", "create", "--next", "one", changed},
			{"image", "rollback", "one@1"}, {"image", "prune", "--keep", "1", "one"}, {"image", "clone", "one", "two"},
			{"image", "rename", "one", "two"}, {"image", "import", "two", archive}, {"image", "remove", "two"},
		}
		seed := uint64(time.Now().UnixNano())
		random, finished := rand.New(rand.NewPCG(seed, 0)), 0
		t.Logf("seed %d", seed)
		for i := 0; i-finished < kills; i++ {
			change := changes[i%len(changes)]
			cmd := exec.Command(kit.Runtime, s.on(change)...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			most := 60 * time.Millisecond
			if len(change) < 5 { // the short ones
				most = 10 * time.Millisecond
			}
			kill := time.AfterFunc(time.Duration(random.Int64N(int64(most))), func() { _ = cmd.Process.Kill() })
			_ = cmd.Wait()
			if kill.Stop() {
				finished++
			}
			s.whole(t, change)
		}
		t.Logf("%d kills, %d changes had ended before theirs", kills, finished)
	})
}

// A kill between a link's making and its taking its place is rare.
func TestGcRemovesALinkThatDidNotTakeItsPlace(t *testing.T) {
	each(t, func(t *testing.T, s store) {
		s.small(t, "one", "0")
		if err := os.Symlink("1", filepath.Join(s.path, "one", ".current")); err != nil {
			t.Fatal(err)
		}
		if out := s.succeed(t, "gc"); out != "removed one/.current\n" {
			t.Errorf("gc: %q", out)
		}
		s.whole(t, nil)
	})
}

// whole checks the store after a kill.
func (s store) whole(t *testing.T, change []string) {
	t.Helper()
	s.succeed(t, "gc")
	s.clean(t)
	names := s.names(t)
	if strings.Contains(names, "two") && !strings.Contains(names, "one") { // the renaming came through
		s.succeed(t, "image", "rename", "two", "one")
		names = s.names(t)
	}
	if !strings.Contains(names, "one") {
		t.Fatalf("after %q: images %q", change, names)
	}
	for _, name := range strings.Fields(names) {
		s.succeed(t, "image", "verify", name)
		if text := s.file(t, name); text != "0" && text != "next" {
			t.Errorf("after %q: %s has %q", change, name, text)
		}
		for _, v := range s.history(t, name) {
			s.succeed(t, "image", "verify", name+"@"+itoa(v.Version))
		}
		entries, err := os.ReadDir(filepath.Join(s.path, name))
		if err != nil || len(entries) != 1+2*len(s.history(t, name)) {
			t.Errorf("after %q: in the directory of %s: %v, %v", change, name, entries, err)
		}
	}
}

func (s store) names(t testing.TB) string {
	t.Helper()
	entries, err := os.ReadDir(s.path)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return strings.Join(names, " ")
}

// TestAFullDiskLeavesTheOldState: BTRFS of 256 MiB, and ext4 of 64 MiB.
func TestAFullDiskLeavesTheOldState(t *testing.T) {
	large := filepath.Join(t.TempDir(), "large.tar")
	kit.Command(t, "sh", "-ec", `cd $(mktemp -d); head -c 300M /dev/urandom >large; tar -cf $1 large; rm -r "$PWD"`, "sh", large)
	full := func(t *testing.T, s store) {
		s.small(t, "one", "0")
		for _, args := range [][]string{{"image", "import", "two", large}, {"image", "import", "--next", "one", large}} {
			s.refuse(t, "no space left on device", args...)
		}
		s.succeed(t, "gc")
		s.clean(t)
		s.succeed(t, "image", "verify", "one")
		if s.file(t, "one") != "0" || s.names(t) != "one" {
			t.Errorf("%q in %q", s.file(t, "one"), s.names(t))
		}
		kit.Eventually(t, "there is space again", func() bool {
			dir := tree(t, program+"echo next >srv/what")
			return kit.Root(t, s.on([]string{"image", "import", "--next", "one", dir})...).Code == 0
		})
	}
	t.Run("btrfs", func(t *testing.T) { full(t, store{kit.NewStore(t), true}) })
	t.Run("overlay", func(t *testing.T) {
		dir := kit.StoreDirectory(t)
		file := dir + ".ext4"
		t.Cleanup(func() { _ = os.Remove(file) })
		kit.Command(t, "truncate", "-s", "64M", file)
		kit.Command(t, "mkfs.ext4", "-q", file)
		kit.Command(t, "mount", "-o", "loop", file, dir)
		kit.Command(t, "rmdir", filepath.Join(dir, "lost+found"))
		kit.Succeed(t, "store", "init", "--overlay", "--store", dir)
		full(t, store{dir, false})
	})
}

// The archive is a hole of many hours.
func TestCtrlCCleansUp(t *testing.T) {
	large := filepath.Join(t.TempDir(), "large.tar")
	kit.Command(t, "sh", "-ec", `cd $(mktemp -d); truncate -s 15T large; tar -Scf $1 large; rm -r "$PWD"`, "sh", large)
	each(t, func(t *testing.T, s store) {
		p := background(t, s.on([]string{"image", "import", "--max-size", "16T", "one", large})...)
		kit.Eventually(t, "it has begun", func() bool { return len(kit.Snapshots(t, s.path)) > 0 })
		time.Sleep(100 * time.Millisecond)
		p.interrupt(t)
		s.clean(t)
		if names := s.names(t); names != "" {
			t.Errorf("images %q", names)
		}
	})
}
