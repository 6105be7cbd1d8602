// Package store tests image stores and images: making them, filling them, breaking
// them.
package store

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// tiny makes an image that holds one static program and nothing else: our own.
func tiny(t *testing.T, store, name string) (path string) {
	t.Helper()
	path = filepath.Join(store, name)
	kit.Command(t, "btrfs", "subvolume", "create", path)
	kit.Command(t, "install", "-D", "-m", "0755", kit.Runtime, filepath.Join(path, "bin/program"))
	return path
}

func runTiny(t *testing.T, store, name string) kit.Result {
	t.Helper()
	return kit.Root(t, "run", "--store", store, "--chdir", "/", name, "/bin/program", "version")
}

// empty checks that no container and no half-made image has left anything.
func empty(t *testing.T, store string) {
	t.Helper()
	if left := kit.Snapshots(t, store); len(left) > 0 {
		t.Errorf("left in %s: %q", store, left)
	}
}

func TestAStoreIsMadeOnceAndMountedAgain(t *testing.T) {
	dir := kit.StoreDirectory(t)
	if out := kit.Succeed(t, "store", "init", "--store", dir, "--size", "256M"); !strings.Contains(out, "is BTRFS in the file "+dir+".btrfs") {
		t.Errorf("first init: %q", out)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode of the store %v, %v: others could reach the setuid programs of images", info.Mode(), err)
	}
	tiny(t, dir, "one")
	if out := kit.Succeed(t, "store", "init", "--store", dir); !strings.Contains(out, "is on BTRFS already") {
		t.Errorf("second init: %q", out)
	}
	kit.Command(t, "umount", dir)
	kit.Succeed(t, "store", "mount", "--store", dir)
	kit.Succeed(t, "store", "mount", "--store", dir)
	if r := runTiny(t, dir, "one"); r.Code != 0 || !strings.HasPrefix(r.Out, "mayfly ") {
		t.Errorf("after the store was mounted again: %+v", r)
	}
	kit.Command(t, "umount", dir)
	kit.Succeed(t, "store", "init", "--store", dir)
	if !kit.Mounted(t, dir) {
		t.Error("init does not mount a store that is there")
	}
	empty(t, dir)
}

func TestAStoreThatCannotBeIsRefused(t *testing.T) {
	full := kit.StoreDirectory(t)
	if err := os.WriteFile(filepath.Join(full, "precious"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	kit.Refuse(t, "precious", "store", "init", "--store", full)
	kit.Refuse(t, "not an absolute path", "store", "init", "--store", "relative")
	kit.Refuse(t, `"lots" is not a size`, "store", "init", "--store", kit.StoreDirectory(t), "--size", "lots")
	kit.Refuse(t, "at least 256M", "store", "init", "--store", kit.StoreDirectory(t), "--size", "1M")
	kit.Refuse(t, "one too many", "store", "init", "argument")
	kit.Refuse(t, "runtime store init", "store", "mount", "--store", kit.StoreDirectory(t))
	if _, err := os.Stat(full + ".btrfs"); err == nil {
		t.Error("a refused init has made a file")
	}
}

func TestAnImageThatCannotBeSnapshottedIsRefused(t *testing.T) {
	plain := kit.StoreDirectory(t)
	kit.Refuse(t, "no image store", "run", "--store", "/nosuch", "image", "true")
	if err := os.Chmod(plain, 0o777); err != nil {
		t.Fatal(err)
	}
	kit.Refuse(t, "writable by root only", "run", "--store", plain, "image", "true")

	store := kit.NewStore(t)
	if err := os.Mkdir(filepath.Join(store, "image"), 0o755); err != nil {
		t.Fatal(err)
	}
	kit.Refuse(t, "is a directory and no subvolume", "run", "--store", store, "image", "true")
	empty(t, store)
}

func TestNoRunChangesAnImage(t *testing.T) {
	store := kit.NewStore(t)
	image := tiny(t, store, "one")
	before := listing(t, image)
	for _, flags := range [][]string{nil, {"--writable"}, {"--bind-ro", "/usr/share:/new/deep/dir"}, {"--tmpfs", "/other"}} {
		args := append(append([]string{"run", "--store", store, "--chdir", "/"}, flags...), "one", "/bin/program", "version")
		if r := kit.Root(t, args...); r.Code != 0 || !strings.HasPrefix(r.Out, "mayfly ") {
			t.Errorf("%v: %+v", flags, r)
		}
	}
	if after := listing(t, image); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	empty(t, store)
}

// listing tells everything about a directory tree that a run could have changed.
func listing(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("find", dir, "-printf", `%P %y %m %U:%G %s %l %T@\n`).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestAFullStore(t *testing.T) {
	store := kit.NewStore(t)
	tiny(t, store, "one")
	filler := filepath.Join(store, "filler")
	// Block by block, then byte by byte: the last of them goes into metadata.
	for _, size := range []string{"1M", "4k", "512"} {
		out, err := exec.Command("dd", "if=/dev/zero", "of="+filler+size, "bs="+size, "oflag=sync", "status=none").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "No space left") {
			t.Fatalf("fill the store: %v: %s", err, out)
		}
	}
	// BTRFS may still have a block to itself for a snapshot. If not, it is told.
	for range 5 {
		r := runTiny(t, store, "one")
		if r.Code != 0 && (r.Code != 125 || strings.Count(r.Err, "\n") != 1 || !strings.Contains(r.Err, "no space left")) {
			t.Errorf("a launch in a full store: %+v", r)
		}
		empty(t, store)
	}
	for _, size := range []string{"1M", "4k", "512"} {
		if err := os.Remove(filler + size); err != nil {
			t.Fatal(err)
		}
	}
	if r := runTiny(t, store, "one"); r.Code != 0 {
		t.Errorf("after room was made: %+v", r)
	}
	empty(t, store)
}

func TestAReadOnlyStore(t *testing.T) {
	store := kit.NewStore(t)
	tiny(t, store, "one")
	kit.Command(t, "mount", "-o", "remount,ro", store)
	kit.Refuse(t, "read-only file system", "run", "--store", store, "one", "/bin/program")
	kit.Refuse(t, "read-only file system", "image", "remove", "--store", store, "one")
	kit.Command(t, "mount", "-o", "remount,rw", store)
	if r := runTiny(t, store, "one"); r.Code != 0 {
		t.Errorf("writable again: %+v", r)
	}
	empty(t, store)
}

func TestListAndRemove(t *testing.T) {
	store := kit.NewStore(t)
	for _, name := range []string{"two", "one"} {
		tiny(t, store, name)
	}
	kit.Command(t, "btrfs", "subvolume", "create", filepath.Join(store, "one", "nested"))
	var list []struct{ Name, Path, Kind string }
	if err := json.Unmarshal([]byte(kit.Succeed(t, "image", "list", "--json", "--store", store)), &list); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("[{one %s/one plain} {two %s/two plain}]", store, store); fmt.Sprint(list) != want {
		t.Errorf("list %v, want %s", list, want)
	}
	if out := kit.Succeed(t, "image", "list", "--store", store); !strings.HasPrefix(out, "NAME") || strings.Count(out, "\n") != 3 {
		t.Errorf("table %q", out)
	}
	kit.Refuse(t, "unknown image three", "image", "remove", "--store", store, "three")
	kit.Refuse(t, "no NAME given", "image", "remove", "--store", store)
	kit.Succeed(t, "image", "remove", "--store", store, "one", "two")
	if out := kit.Succeed(t, "image", "list", "--json", "--store", store); strings.TrimSpace(out) != "[]" {
		t.Errorf("after both are removed: %q", out)
	}
}

// TestAMountUnitWhereSystemdRuns stands in for systemd: what says that it runs, and
// systemctl, in a mount namespace of its own.
func TestAMountUnitWhereSystemdRuns(t *testing.T) {
	script := `mount -t tmpfs tmpfs /run/systemd && mkdir /run/systemd/system && mount -t tmpfs tmpfs /etc/systemd/system
		PATH=$1:$PATH; runtime store init --size 256M --store $2 >$1/out 2>&1; echo exit $?; cat $1/calls /etc/systemd/system/*`
	for _, c := range []struct {
		what, systemctl string
		want            func(dir, unit string) string
	}{
		{"it works", "exit 0", func(dir, unit string) string {
			return "exit 0\ndaemon-reload\nenable --now " + unit + "\n[Unit]\nDescription=Image store of Mayfly\n\n[Mount]\nWhat=" + dir + ".btrfs\nWhere=" + dir +
				"\nType=btrfs\nOptions=loop,noatime,nosuid,nodev\n\n[Install]\nWantedBy=local-fs.target\n"
		}},
		{"enable fails", `[ "$1" != enable ]`, func(dir, unit string) string {
			return "exit 125\ndaemon-reload\nenable --now " + unit + "\ndisable --now " + unit + "\n"
		}},
	} {
		dir, fake := kit.StoreDirectory(t), t.TempDir()
		text := "#!/bin/sh\necho \"$*\" >>" + fake + "/calls\n" + c.systemctl + "\n"
		if err := os.WriteFile(filepath.Join(fake, "systemctl"), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		r := kit.Do(t, exec.Command("unshare", "--mount", "sh", "-c", script, "sh", fake, dir))
		unit, err := exec.Command("systemd-escape", "--path", "--suffix=mount", dir).Output()
		if err != nil {
			t.Fatal(err)
		}
		if want := c.want(dir, strings.TrimSpace(string(unit))); r.Out != want {
			t.Errorf("%s: %+v, want %q", c.what, r, want)
		}
		if _, err := os.Stat(dir + ".btrfs"); (err == nil) != strings.HasPrefix(r.Out, "exit 0") {
			t.Errorf("%s: the file is there: %v", c.what, err)
		}
	}
}

func TestAStoreGrowsAndShrinks(t *testing.T) {
	dir := kit.StoreDirectory(t)
	kit.Succeed(t, "store", "init", "--store", dir, "--size", "512M")
	tiny(t, dir, "one")
	size := func() (file, system int64) {
		info, err := os.Stat(dir + ".btrfs")
		kit.Must(t, err)
		var space struct{ Size int64 }
		kit.Must(t, json.Unmarshal([]byte(kit.Succeed(t, "store", "status", "--store", dir, "--json")), &space))
		return info.Size(), space.Size
	}
	for _, c := range []struct {
		size string
		want int64
	}{{"1G", 1 << 30}, {"1G", 1 << 30}, {"600M", 600 << 20}, {"2G", 2 << 30}} {
		kit.Succeed(t, "store", "resize", "--store", dir, c.size)
		if file, system := size(); file != c.want || system != c.want {
			t.Errorf("%s: a file of %d, a file system of %d bytes", c.size, file, system)
		}
		if r := runTiny(t, dir, "one"); r.Code != 0 {
			t.Errorf("%s: %+v", c.size, r)
		}
	}
	kit.Refuse(t, "at least 256M", "store", "resize", "--store", dir, "100M")
	kit.Refuse(t, "is not a size", "store", "resize", "--store", dir, "big")
	kit.Refuse(t, "in no file of its own", "store", "resize", "--store", filepath.Dir(dir), "1G")
	kit.Command(t, "umount", dir)
	kit.Refuse(t, "is not mounted", "store", "resize", "--store", dir, "1G")
	if out := kit.Succeed(t, "store", "init", "--store", dir, "--size", "1G"); !strings.Contains(out, "keeps its size (`runtime store resize` changes it)") {
		t.Errorf("init of what is there: %q", out)
	}
	if file, _ := size(); file != 2<<30 {
		t.Errorf("init has changed the file to %d bytes", file)
	}
}
