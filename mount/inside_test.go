package mount

import (
	"errors"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mayfly/nsexec/inside"
)

// inNamespace calls f on a thread that has a mount namespace of its own, as root of a
// user namespace, in which nothing is shared; dir is an empty directory. Outside it
// does nothing, since the test is executed again.
func inNamespace(t *testing.T, f func(dir string)) {
	t.Helper()
	if !inside.Runs(t) {
		return
	}
	dir := t.TempDir()
	done := make(chan struct{})
	go func() {
		defer close(done)
		goruntime.LockOSThread() // for good: it ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			t.Error(err)
			return
		}
		if err := MakePrivate("/"); err != nil {
			t.Error(err)
			return
		}
		f(dir)
	}()
	<-done
}

// attached makes a tmpfs and attaches it at a path.
func attached(t *testing.T, path string) Tree {
	t.Helper()
	tree, err := New("tmpfs", []string{"size=1m", "mode=755"}, 0)
	if err == nil {
		err = tree.AttachTo(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// line is the line of /proc/thread-self/mountinfo of what is mounted at a path; "":
// none.
func line(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for one := range strings.Lines(string(text)) {
		if strings.Contains(one, " "+path+" ") {
			return one
		}
	}
	return ""
}

func TestInsideAFileSystemIsFilledBeforeItIsAttached(t *testing.T) {
	inNamespace(t, func(dir string) {
		unix.Umask(0o022)
		tree, err := New("tmpfs", []string{"size=1m", "mode=711"}, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		defer tree.Close()
		for _, err := range []error{
			tree.Mkdir("directory", 0o777), tree.WriteFile("directory/file", "content"), tree.Touch("empty"),
			tree.Symlink("directory/file", "link"), tree.Chmod("empty", 0o600),
		} {
			if err != nil {
				t.Error(err)
			}
		}
		for what, err := range map[string]error{"mkdir": tree.Mkdir("directory", 0), "create empty": tree.Touch("empty"),
			"create link": tree.WriteFile("link", ""), "symlink": tree.Symlink("x", "link")} {
			if !errors.Is(err, unix.EEXIST) || !strings.HasPrefix(err.Error(), what) {
				t.Errorf("%s again: %v", what, err)
			}
		}
		if entries, _ := os.ReadDir(dir); len(entries) > 0 {
			t.Errorf("it is attached before it is: %v", entries)
		}
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		target, err := RootAt(fd).Dir("/")
		if err != nil {
			t.Fatal(err)
		}
		defer target.Close()
		if err := tree.Attach(target); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(filepath.Join(dir, "link"))
		if err != nil || string(content) != "content" {
			t.Errorf("%q, %v", content, err)
		}
		for name, mode := range map[string]os.FileMode{"": 0o711 | os.ModeDir, "directory": 0o755 | os.ModeDir, "directory/file": 0o644, "empty": 0o600} {
			if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != mode {
				t.Errorf("%q: %v, %v, want %v", name, info.Mode(), err, mode)
			}
		}
		if got := line(t, dir); !strings.Contains(got, "nosuid") || !strings.Contains(got, "noexec") || strings.Contains(got, "nodev") || !strings.Contains(got, "size=1024k") {
			t.Errorf("%q", got)
		}
	})
}

func TestInsideTheKernelSaysWhichParameterItRefuses(t *testing.T) {
	inNamespace(t, func(string) {
		for _, c := range []struct {
			fstype string
			data   []string
			want   error
			says   string
		}{
			{"nosuchfs", nil, unix.ENODEV, "fsopen nosuchfs"},
			{"tmpfs", []string{"nosuch=1"}, unix.EINVAL, "fsconfig tmpfs nosuch=1: invalid argument (tmpfs: Unknown parameter 'nosuch')"},
			{"tmpfs", []string{"size"}, unix.EINVAL, "fsconfig tmpfs size"},
			{"tmpfs", []string{"a\x00b"}, unix.EINVAL, "fsconfig tmpfs"},
		} {
			if _, err := New(c.fstype, c.data, 0); !errors.Is(err, c.want) || !strings.HasPrefix(err.Error(), c.says) {
				t.Errorf("%s %q: %v, want %q", c.fstype, c.data, err, c.says)
			}
		}
		if _, err := New("tmpfs", nil, 0, File{"nosuch", 0}); err == nil || !strings.HasPrefix(err.Error(), "fsconfig tmpfs nosuch") {
			t.Errorf("%v", err)
		}
	})
}

func TestInsideACopyHasTheMountsBelowOnlyWhereItIsRecursive(t *testing.T) {
	inNamespace(t, func(dir string) {
		below := filepath.Join(dir, "a/below")
		tree := attached(t, dir)
		defer tree.Close()
		for _, name := range []string{"a", "b"} {
			if err := tree.Mkdir(name, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if has, err := tree.HasMounts(); has || err != nil && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) {
			t.Errorf("there are mounts below: %v, %v", has, err)
		}
		if err := tree.Mkdir("a/below", 0o755); err != nil {
			t.Fatal(err)
		}
		inner := attached(t, below)
		defer inner.Close()
		if err := inner.Touch("file"); err != nil {
			t.Fatal(err)
		}
		if has, err := tree.HasMounts(); !has && err == nil {
			t.Error("there are no mounts below")
		}
		for _, recursive := range []bool{true, false} {
			clone, err := Clone(tree.FD(), "a", recursive)
			if err != nil {
				t.Fatal(err)
			}
			at := filepath.Join(dir, "b")
			if err := clone.AttachTo(at); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(at, "below/file")); (err == nil) != recursive {
				t.Errorf("recursive %v: %v", recursive, err)
			}
			if err := errors.Join(unix.Unmount(at, unix.MNT_DETACH), clone.Close()); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestInsideNothingPropagatesFromOrToACopy(t *testing.T) {
	inNamespace(t, func(dir string) {
		for name, c := range map[string]struct {
			clone   func(int, string, bool) (Tree, error)
			follows bool
		}{"Clone": {Clone, false}, "slave": {func(dir int, path string, recursive bool) (Tree, error) {
			return Copy{Recursive: recursive, Slave: true}.Of(dir, path)
		}, true}} {
			base := filepath.Join(dir, name)
			if err := os.Mkdir(base, 0o755); err != nil {
				t.Fatal(err)
			}
			source, copied := filepath.Join(base, "source"), filepath.Join(base, "copy")
			outer := attached(t, base)
			defer outer.Close()
			for _, directory := range []string{source, copied} {
				if err := os.Mkdir(directory, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			tree := attached(t, source)
			defer tree.Close()
			for _, directory := range []string{"later", "back"} {
				if err := tree.Mkdir(directory, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := unix.Mount("", source, "", unix.MS_SHARED, ""); err != nil {
				t.Fatal(err)
			}
			clone, err := c.clone(tree.FD(), "", true)
			if err == nil {
				err = clone.AttachTo(copied)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer clone.Close()
			later, back := attached(t, filepath.Join(source, "later")), attached(t, filepath.Join(copied, "back"))
			defer later.Close()
			defer back.Close()
			if got := line(t, filepath.Join(copied, "later")) != ""; got != c.follows {
				t.Errorf("%s: what is mounted on the original is on the copy: %v", name, got)
			}
			if line(t, filepath.Join(source, "back")) != "" {
				t.Errorf("%s: what is mounted on the copy is on the original", name)
			}
			if got := line(t, copied); strings.Contains(got, "shared:") || strings.Contains(got, "master:") != c.follows {
				t.Errorf("%s: %q", name, got)
			}
		}
	})
}

func TestInsideATreeIsAttachedByNameAndDescriptorsAreClosedTogether(t *testing.T) {
	inNamespace(t, func(dir string) {
		outer := attached(t, dir)
		if err := errors.Join(outer.Mkdir("target", 0o755), outer.WriteFile("file", "text"), outer.Symlink("/", "link")); err != nil {
			t.Fatal(err)
		}
		how := Copy{NoFollow: true, Set: unix.MOUNT_ATTR_RDONLY}
		directory, err := how.Of(outer.FD(), "target")
		if err == nil {
			err = directory.AttachIn(outer, "target")
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(dir, "target/x"), 0o755); err != unix.EROFS && !errors.Is(err, unix.EROFS) {
			t.Errorf("the copy is writable: %v", err)
		}
		if place, err := PlaceOf(outer.FD(), "target"); err != nil || !place.IsDir || !place.IsMountRoot {
			t.Errorf("%+v, %v", place, err)
		}
		if place, err := PlaceOf(outer.FD(), "link"); err != nil || place.IsDir {
			t.Errorf("a link is followed: %+v, %v", place, err)
		}
		if _, err := PlaceOf(outer.FD(), "nosuch"); !errors.Is(err, unix.ENOENT) {
			t.Errorf("%v", err)
		}
		var trees []Tree
		for range 5 {
			tree, err := Clone(outer.FD(), "file", false)
			if err != nil {
				t.Fatal(err)
			}
			trees = append(trees, tree)
		}
		kept := trees[2]
		if err := CloseAll([]Tree{trees[4], trees[0], directory, trees[1], outer, trees[3]}); err != nil {
			t.Error(err)
		}
		for _, tree := range []Tree{trees[0], trees[1], trees[3], trees[4], directory, outer} {
			if _, err := tree.Place(); !errors.Is(err, unix.EBADF) {
				t.Errorf("descriptor %d is open: %v", tree.FD(), err)
			}
		}
		if _, err := kept.Place(); err != nil {
			t.Errorf("a descriptor between them is closed: %v", err)
		}
		if err := errors.Join(kept.Close(), CloseAll(nil), unix.Unmount(dir, unix.MNT_DETACH)); err != nil {
			t.Error(err)
		}
	})
}

func TestInsideAttributesHoldForTheMountsBelowToo(t *testing.T) {
	inNamespace(t, func(dir string) {
		tree := attached(t, dir)
		defer tree.Close()
		if err := tree.Mkdir("below", 0o755); err != nil {
			t.Fatal(err)
		}
		below := attached(t, filepath.Join(dir, "below"))
		defer below.Close()
		for _, recursive := range []bool{false, true} {
			if err := tree.SetAttrs(unix.MOUNT_ATTR_RDONLY, 0, recursive); err != nil {
				t.Fatal(err)
			}
			if err := tree.Touch("x"); !errors.Is(err, unix.EROFS) {
				t.Errorf("%v on a read-only mount", err)
			}
			err := below.Touch(strconv.FormatBool(recursive))
			if recursive != errors.Is(err, unix.EROFS) || !recursive && err != nil {
				t.Errorf("recursive %v: %v below", recursive, err)
			}
		}
		if err := tree.SetAttrs(unix.MOUNT_ATTR_NOATIME, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR__ATIME, true); err != nil {
			t.Fatal(err)
		}
		if got := line(t, dir); !strings.Contains(got, "rw,noatime") || tree.Touch("x") != nil {
			t.Errorf("%q", got)
		}
	})
}

func TestInsideAPivotLeavesNothingOfTheOldRoot(t *testing.T) {
	inNamespace(t, func(dir string) {
		tree := attached(t, dir)
		defer tree.Close()
		if err := errors.Join(tree.Mkdir("proc", 0o755), tree.Touch("only")); err != nil {
			t.Fatal(err)
		}
		proc, err := Clone(unix.AT_FDCWD, "/proc", true)
		if err != nil {
			t.Fatal(err)
		}
		defer proc.Close()
		if err := errors.Join(proc.AttachTo(filepath.Join(dir, "proc")), Pivot(tree)); err != nil {
			t.Fatal(err)
		}
		wd, err := unix.Getwd()
		if err != nil || wd != "/" {
			t.Errorf("the working directory is %q, %v", wd, err)
		}
		var names []string
		entries, err := os.ReadDir("/")
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if err != nil || !slices.Equal(names, []string{"only", "proc"}) {
			t.Errorf("%q, %v", names, err)
		}
		text, err := os.ReadFile("/proc/thread-self/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		list, err := ParseInfo(string(text))
		if err != nil || list[0].Point != "/" || list[0].Type != "tmpfs" || slices.ContainsFunc(list[1:], func(m Info) bool { return !strings.HasPrefix(m.Point, "/proc") }) {
			t.Errorf("%+v, %v", list, err)
		}
	})
}

// A place tells a mount from a directory of the one around it.
func TestInsideAPlaceIsTheRootOfItsMountOrNot(t *testing.T) {
	inNamespace(t, func(dir string) {
		tree := attached(t, dir)
		defer tree.Close()
		if err := errors.Join(tree.Mkdir("directory", 0o755), tree.Touch("file")); err != nil {
			t.Fatal(err)
		}
		root, err := tree.Place()
		if err != nil || !root.IsMountRoot || !root.IsDir || root.IsRegular {
			t.Errorf("%+v, %v", root, err)
		}
		for name, want := range map[string]Place{"directory": {MountID: root.MountID, IsDir: true}, "file": {MountID: root.MountID, IsRegular: true}} {
			target, err := RootAt(tree.FD()).Name(name)
			if err != nil {
				t.Fatal(err)
			}
			got, err := target.Place()
			fstype, wrong := target.FSType()
			if err := errors.Join(err, wrong, target.Close()); err != nil || got != want || fstype != unix.TMPFS_MAGIC {
				t.Errorf("%s: %+v of type %#x, %v; want %+v", name, got, fstype, err, want)
			}
		}
	})
}
