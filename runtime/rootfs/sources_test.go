package rootfs

import (
	"errors"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/nsexec/inside"
	"mayfly/runtime/plan"
)

func TestEveryMountAttributeOfAPlanIsOneOfTheKernels(t *testing.T) {
	seen := map[[2]uint64]string{}
	for _, word := range plan.MountAttributes {
		o := mount.ParseOptions([]string{word})
		if len(o.Data) > 0 || o.Recursive || o.Slave || o.Set|o.Clear == 0 {
			t.Errorf("%s: %+v", word, o)
		}
		if other, twice := seen[[2]uint64{o.Set, o.Clear}]; twice {
			t.Errorf("%s is the same as %s", word, other)
		}
		seen[[2]uint64{o.Set, o.Clear}] = word
		if bits.OnesCount64(o.Set) > 1 {
			t.Errorf("%s sets %#x", word, o.Set)
		}
	}
	// Of the words that say how a source is copied none is the file system's.
	for _, word := range []string{"bind", "defaults", "rbind", "private", "rprivate", "slave", "rslave"} {
		if o := mount.ParseOptions([]string{word}); len(o.Data) > 0 || o.Set|o.Clear != 0 || o.Recursive != (word == "rbind") || o.Slave != strings.HasSuffix(word, "slave") {
			t.Errorf("%s: %+v", word, o)
		}
	}
}

// opened opens a path, which is closed at the end of the test.
func opened(t *testing.T, name string) int {
	t.Helper()
	fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// made makes files of all kinds that a user can make in a new directory.
func made(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir) // since the address of a socket is short
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: "socket"}), unix.Mkfifo("fifo", 0o600), os.WriteFile("file", []byte("text"), 0o600), os.Mkdir("dir", 0o700),
		os.Symlink("file", "link")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestOnlyWhatAMountCanKeepIsBound(t *testing.T) {
	dir := made(t)
	for _, c := range []struct {
		name     string
		readOnly string // what is said of a read-only bind; "": it is accepted
		writable string
	}{
		{dir + "/file", "", ""},
		{dir + "/dir", "", ""},
		{dir + "/link", "", ""}, // the file that it leads to
		{dir + "/socket", "which no mount makes read-only", ""},
		{dir + "/fifo", "which no mount makes read-only", ""},
		{"/dev/null", "neither a file nor", "neither a file nor"},
		{"/proc", "is in the host's /proc", "is in the host's /proc"},
		{"/proc/self/status", "is in the host's /proc", "is in the host's /proc"},
	} {
		fd := opened(t, c.name)
		for readOnly, want := range map[bool]string{true: c.readOnly, false: c.writable} {
			err := bindable(fd, readOnly)
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s, read-only %v: %v, want %q", c.name, readOnly, err, want)
			}
		}
	}
	if err := bindable(-1, false); !errors.Is(err, unix.EBADF) {
		t.Errorf("nothing: %v", err)
	}
}

func TestACallerMayBindWhatTheyMayOpen(t *testing.T) {
	if !inside.AsUser(t) {
		return
	}
	dir := made(t)
	for _, c := range []struct {
		name string
		mode uint32
		may  bool
	}{
		{"file", 0o400, true}, {"file", 0o200, false}, {"file", 0o000, false},
		{"dir", 0o500, true}, {"dir", 0o300, false},
		{"socket", 0o200, true}, {"socket", 0o400, false}, // to connect takes the right to write
		{"fifo", 0o400, true}, {"fifo", 0o200, true}, {"fifo", 0o000, false}, // either end
	} {
		if err := unix.Chmod(filepath.Join(dir, c.name), c.mode); err != nil {
			t.Fatal(err)
		}
		if err := mayOpen(opened(t, filepath.Join(dir, c.name))); c.may && err != nil || !c.may && err != unix.EACCES {
			t.Errorf("%s with mode %#o: %v", c.name, c.mode, err)
		}
	}
}

func TestTheStoreIsHiddenInABindThatHasIt(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	store := filepath.Join(top, "home/dev/mayfly")
	for _, dir := range []string{store + "/images", top + "/home/devil", top + "/home/dev/mayfly2"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		source, want string
		refused      bool
	}{
		{top, "/inside/home/dev/mayfly", false},
		{top + "/home", "/inside/dev/mayfly", false},
		{top + "/home/dev", "/inside/mayfly", false},
		{store, "", true},
		{store + "/images", "", true},
		{top + "/home/devil", "", false},
		{top + "/home/dev/mayfly2", "", false},
		{"/", "/inside" + store, false},
	} {
		b := openedBind{specs.Mount{Source: c.source, Destination: "/inside"}, opened(t, c.source), false}
		hidden, err := b.hideStore([]string{"/before"}, store)
		want := []string{"/before"}
		if c.want != "" {
			want = append(want, c.want)
		}
		if (err != nil) != c.refused || !slices.Equal(hidden, want) {
			t.Errorf("%s: %q, %v; want %q", c.source, hidden, err, want)
		}
	}
}

func TestNothingIsOpenedAgainInDev(t *testing.T) {
	null, file := opened(t, "/dev/null"), opened(t, t.TempDir())
	for _, c := range []struct {
		again, refused bool
		fd             int
	}{{false, false, null}, {true, true, null}, {false, false, file}, {true, false, file}} {
		if err := (&sources{devCovered: c.again}).checkPlace(c.fd); (err != nil) != c.refused {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestOnlyDeviceNodesAreDevices(t *testing.T) {
	dir := made(t)
	if err := os.Symlink("/dev/null", "device"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"file", "dir", "device", "fifo", "socket"} {
		if tree, err := openDevice(filepath.Join(dir, name)); err == nil {
			tree.Close()
			t.Errorf("%s is one", name)
		}
	}
	if _, err := openDevice(filepath.Join(dir, "nosuch")); err != unix.ENOENT { // which is left out
		t.Errorf("what is not there: %v", err)
	}
}

func TestMountPointsAreMadeWhereNobodysFilesAre(t *testing.T) {
	tmpfs := []specs.Mount{{Type: "tmpfs", Destination: "/tmp"}, {Type: "bind", Destination: "/home"}}
	for _, c := range []struct {
		kind plan.RootKind
		name string
		want bool
	}{
		{plan.RootSnapshot, "/new", true}, {plan.RootSession, "/new", true},
		{plan.RootVersion, "/new", false}, {plan.RootVersion, "/tmp/new", true}, {plan.RootVersion, "/tmp", false}, {plan.RootVersion, "/tmpx/new", false},
		{plan.RootVersion, "/home/new", false},
		{plan.RootDraft, "/new", false}, {plan.RootDraft, "/tmp/new", false}, {plan.RootImage, "/new", false},
	} {
		b := &Builder{Plan: &plan.Plan{Root: plan.Root{Kind: c.kind}, Spec: specs.Spec{Mounts: tmpfs}}}
		if got := b.mayCreate(c.name); got != c.want {
			t.Errorf("%s in %s: %v", c.name, c.kind, got)
		}
	}
}

func TestALookupThatFailsIsSaidInWords(t *testing.T) {
	other := errors.New("another")
	for _, c := range []struct {
		err  error
		dir  bool
		want string
	}{
		{unix.ENOTDIR, true, "the source is a directory, this is not"},
		{unix.EEXIST, true, "a symbolic link in the image leads nowhere"},
		{unix.ENOENT, false, "is not in the image"},
		{unix.ELOOP, false, "a loop of symbolic links"},
		{unix.ENOTDIR, false, unix.ENOTDIR.Error()}, // of something above the file
		{other, true, "another"},
	} {
		if err := explain(c.err, c.dir); !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.err, err, c.want)
		}
	}
	if err := mismatch(false); !strings.Contains(err.Error(), "this is a directory") {
		t.Errorf("%v", err)
	}
}
