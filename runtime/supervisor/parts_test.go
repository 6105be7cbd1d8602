package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/nsexec"
	"mayfly/runtime/cgroup"
	"mayfly/runtime/here"
	"mayfly/runtime/image"
	"mayfly/runtime/plan"
	"mayfly/runtime/privilege"
	"mayfly/runtime/status"
)

func TestALaunchKeepsTheCapabilitiesThatItTakes(t *testing.T) {
	for _, c := range []struct {
		btrfs bool
		mode  string
		want  uint64
	}{
		{true, "", privilege.LaunchCapabilities},
		{true, "none", privilege.LaunchCapabilities},
		{true, "private", privilege.LaunchCapabilities | privilege.NetworkCapabilities},
		{true, "interface", privilege.LaunchCapabilities | privilege.NetworkCapabilities},
		{false, "", privilege.LaunchCapabilities | privilege.OverlayCapabilities},
		{false, "private", privilege.GrantCapabilities},
	} {
		if got := needs(&plan.Plan{NetworkMode: c.mode}, &image.Store{BTRFS: c.btrfs}); got != c.want {
			t.Errorf("BTRFS %v, network %q: %#x, want %#x", c.btrfs, c.mode, got, c.want)
		}
	}
}

func TestAPlansIDsKeepTheirPlaces(t *testing.T) {
	if got := idMaps([]specs.LinuxIDMapping{{ContainerID: 1, HostID: 2, Size: 3}}); !slices.Equal(got, []nsexec.IDMap{{Inside: 1, Outside: 2, Count: 3}}) {
		t.Errorf("%+v", got)
	}
	if idMaps(nil) != nil {
		t.Error("of none there are some")
	}
}

func TestOthersMayKnowOfAContainerWhatItsRecordSays(t *testing.T) {
	p := &plan.Plan{Container: "c", Owner: plan.Owner{UID: 7, GID: 8}, NetworkMode: "private", SetIDs: true,
		Root: plan.Root{Kind: plan.RootSnapshot, Store: "/store", Image: "deb", Version: 3, Name: "copy"},
		Spec: specs.Spec{Process: &specs.Process{Args: []string{"make", "all"}, Env: []string{"SECRET=1"}}, Linux: &specs.Linux{}, Root: &specs.Root{Path: "/store/deb/3"}}}
	r := record(p)
	if r.Name != "c" || r.Image != "deb@3" || r.UID != 7 || r.PID != os.Getpid() || !slices.Equal(r.Command, []string{"make", "all"}) || r.Network != "private" || r.AsOwner ||
		r.Root != p.Path() || !strings.HasPrefix(r.Root, "/store/.mayfly/") || r.Started.Location() != time.UTC {
		t.Errorf("%+v", r)
	}
	p.SetIDs, p.Root.Version, p.Root.Kind = false, 0, plan.RootImage
	if r := record(p); r.Image != "deb" || !r.AsOwner || r.Root != "/store/deb/3" {
		t.Errorf("%+v", r)
	}
	if text := fmt.Sprintf("%+v", r); strings.Contains(text, "SECRET") {
		t.Errorf("the environment is told: %s", text)
	}
}

func TestAProblemIsSentWithItsExitStatus(t *testing.T) {
	for _, c := range []struct {
		err  error
		text string
		code int
	}{
		{nil, "", 0},
		{errors.New("no"), "no", 125},
		{fmt.Errorf("execute: %w", &status.CommandError{Command: "make", Reason: "not found", Code: 127}), "execute: make: not found", 127},
		{status.ErrInterrupted{Signal: syscall.SIGTERM}, "interrupted by SIGTERM", 143},
	} {
		if got := problem(c.err); got.Problem != c.text || got.Code != c.code {
			t.Errorf("%v: %+v", c.err, got)
		}
	}
}

func TestWaitingForTheRecordEndsWithWhatBecameOfIt(t *testing.T) {
	recorded := newProvision(here.Here{}, nil)
	close(recorded.recorded)
	if err := recorded.awaitRecord(); err != nil {
		t.Errorf("recorded, and nothing more yet: %v", err)
	}
	failed := newProvision(here.Here{}, nil)
	failed.err = unix.ENOSPC
	told := make(chan error, 2)
	go func() { told <- failed.awaitRecord() }()
	go func() {
		_, err := failed.Root()
		told <- err
	}()
	failed.done()
	for range 2 {
		if err := <-told; err != unix.ENOSPC {
			t.Errorf("%v", err)
		}
	}
	if err := newProvision(here.Here{}, nil).Remove(); err != nil {
		t.Errorf("nothing is removed: %v", err)
	}
}

func TestTheLogIsToldOfARootFileSystemThatIsThere(t *testing.T) {
	refusal := errors.New("refused")
	for _, c := range []struct {
		made, says, want error
		asked            bool
	}{{nil, nil, nil, true}, {nil, refusal, refusal, true}, {unix.ENOSPC, refusal, nil, false}} {
		s := &supervisor{root: newProvision(here.Here{}, nil), image: new(image.Image), logged: make(chan struct{})}
		s.root.err = c.made
		told := make(chan error)
		go func() { told <- s.awaitLog() }()
		asked := false
		s.tellOfStart(func(string) error { asked = true; return c.says })
		if err := <-told; err != c.want || asked != c.asked {
			t.Errorf("%+v: %v, asked %v", c, err, asked)
		}
	}
}

func TestOptionsThatAreMissingDoNothing(t *testing.T) {
	var o Options
	o.setDefaults()
	o.Note("text")
	o.Warn("text")
	if o.Started("digest") != nil {
		t.Error("they do something")
	}
	var noted string
	o = Options{Note: func(text string) { noted = text }}
	o.setDefaults()
	if o.Warn("a warning"); noted != "a warning" {
		t.Errorf("noted: %q", noted)
	}
}

func TestWhatWasUsedIsTheContainersOrTheCommands(t *testing.T) {
	number := func(n int64) *int64 { return &n }
	of := func(p *int64) int64 {
		if p == nil {
			return -1
		}
		return *p
	}
	var u status.Usage
	ofContainer(&u, cgroup.Stats{User: 1500 * time.Millisecond, System: time.Second, Memory: number(1), MemoryPeak: number(2), Tasks: number(3), TasksPeak: number(4),
		OOMKills: number(5), Read: number(6), Written: number(7)})
	if u.Of != "container" || u.User != 1.5 || u.System != 1 || of(u.MemoryPeak) != 2 || of(u.TasksPeak) != 4 || of(u.OOMKills) != 5 || of(u.Read) != 6 || of(u.Written) != 7 {
		t.Errorf("%+v", u)
	}
	u = status.Usage{Of: "command"}
	ofCommand(&u, &nsexec.Process{Usage: syscall.Rusage{Utime: syscall.Timeval{Sec: 1, Usec: 500000}, Stime: syscall.Timeval{Usec: 250000}, Maxrss: 3, Inblock: 4, Oublock: 5}})
	if u.Of != "command" || u.User != 1.5 || u.System != 0.25 || of(u.MemoryPeak) != 3<<10 || of(u.Read) != 4*512 || of(u.Written) != 5*512 || u.TasksPeak != nil || u.OOMKills != nil {
		t.Errorf("%+v", u)
	}
	s := newSupervisor(&plan.Plan{})
	if u := s.used(time.Now().Add(-time.Hour)); u.Of != "command" || u.Wall < 3600 || u.MemoryPeak != nil {
		t.Errorf("of nothing that was started: %+v", u)
	}
}

func TestFilesAreReadAheadWhereTheyAre(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600), unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600), os.Symlink("/etc/passwd", filepath.Join(dir, "out"))); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	before, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	readAhead(fd, []string{"/file", "/fifo", "/out", "/nosuch", "/"}) // a FIFO is not waited for
	after, err := os.ReadDir("/proc/self/fd")
	if err != nil || len(after) != len(before) {
		t.Errorf("%d descriptors are open, %d were; %v", len(after), len(before), err)
	}
}

func TestARootFileSystemOfAnUnknownKindIsAnError(t *testing.T) {
	s := newProvision(here.Here{}, nil)
	if _, err := s.mount(&plan.Plan{Root: plan.Root{Kind: "other"}}, nil); err == nil || !strings.Contains(err.Error(), `root file system of kind "other": none that a launch knows`) {
		t.Errorf("%v", err)
	}
}

func TestFilesOfAnImageThatIsChangedAreItsOwnAgain(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "etc"), 0o755), os.WriteFile(filepath.Join(dir, "etc/hosts"), []byte("image"), 0o644),
		os.WriteFile(filepath.Join(dir, "etc/hostname"), []byte("image"), 0o644)); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := newProvision(here.Here{}, nil)
	s.mounts.Tree = mount.TreeFromFD(fd)
	defer s.mounts.Tree.Close()
	p := &plan.Plan{Root: plan.Root{Kind: plan.RootSnapshot, Replace: []plan.File{{Path: "/etc/hosts", Content: "ours"}, {Path: "/etc/localtime", Link: "/usr/share/zoneinfo/UTC"}}}}
	if err := s.replace(p, nil); err != nil { // a copy's are thrown away with it
		t.Fatal(err)
	}
	if len(s.replaced) != 0 {
		t.Errorf("%+v are to be put back", s.replaced)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "etc/hosts")); string(data) != "ours" || err != nil {
		t.Errorf("%q, %v", data, err)
	}
	if link, err := os.Readlink(filepath.Join(dir, "etc/localtime")); link != "/usr/share/zoneinfo/UTC" || err != nil {
		t.Errorf("%q, %v", link, err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "etc/hostname")); string(data) != "image" || err != nil {
		t.Errorf("%q, %v", data, err)
	}
	if err := s.restore(); err != nil {
		t.Errorf("nothing to put back: %v", err)
	}
}
