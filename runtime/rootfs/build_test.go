package rootfs

import (
	"errors"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/nsexec"
	"mayfly/nsexec/inside"
	"mayfly/runtime/plan"
	"mayfly/runtime/privilege"
)

// isInside runs the calling test in a process of its own, in a new user and a new mount
// namespace, where it is root, and /tmp is empty. It returns true there, on a locked
// thread, and false in the test that waits for that process.
func isInside(t *testing.T) bool {
	t.Helper()
	if !inside.RunsIn(t, unix.CLONE_NEWNS) {
		return false
	}
	goruntime.LockOSThread()
	unix.Umask(0) // as in a launch
	must(t, mount.MakePrivate("/"), unix.Mount("tmpfs", "/tmp", "tmpfs", 0, "mode=0755"))
	return true
}

// must fails the test at once.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// tempDir makes a directory, which goes with the mount namespace.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "")
	must(t, err)
	return dir
}

// with calls f with the capabilities that a step of a launch raises, and with no
// others.
func with(t *testing.T, capabilities uint64, f func() error) error {
	t.Helper()
	now, err := nsexec.CurrentCapabilities()
	must(t, err, nsexec.SetEffective(capabilities))
	err = f()
	must(t, nsexec.SetEffective(now.Effective))
	return err
}

// memory is an empty file system.
func memory(t *testing.T) mount.Tree {
	t.Helper()
	tree, err := mount.New("tmpfs", []string{"mode=0755"}, 0)
	must(t, err)
	t.Cleanup(func() { tree.Close() })
	return tree
}

// A root stands for an image.
type root struct {
	mount.Tree
	path string // where the test sees it, also when it is moved
}

// newRoot attaches an empty root file system with directories in it.
func newRoot(t *testing.T, dirs ...string) root {
	t.Helper()
	tree := memory(t)
	must(t, tree.AttachTo(tempDir(t)))
	r := root{tree, "/proc/self/fd/" + strconv.Itoa(tree.FD())}
	for _, dir := range dirs {
		must(t, os.MkdirAll(filepath.Join(r.path, dir), 0o755))
	}
	return r
}

// builderOf is one whose root file system is there.
func builderOf(r root, p *plan.Plan) *Builder {
	return &Builder{Plan: p, tree: r.Tree, Scratch: &scratch{Own: map[string]mount.Tree{}}, sources: &sources{binds: map[string]mount.Tree{}}}
}

func planWith(kind plan.RootKind, mounts ...specs.Mount) *plan.Plan {
	return &plan.Plan{Root: plan.Root{Kind: kind}, Spec: specs.Spec{Process: &specs.Process{}, Linux: &specs.Linux{}, Root: &specs.Root{}, Mounts: mounts}}
}

func TestAnImageCannotLeadAMountAstray(t *testing.T) {
	if !isInside(t) {
		return
	}
	r := newRoot(t, "dir", "a/b", "dev", "proc", "etc")
	dev := memory(t)
	must(t, dev.Mkdir("shm", 0o755), dev.AttachTo(filepath.Join(r.path, "dev")),
		unix.Mount("/proc", filepath.Join(r.path, "proc"), "", unix.MS_BIND|unix.MS_REC, ""))
	for name, link := range map[string]string{"toRoot": "/", "toRootByDots": "../../..", "toDev": "dev", "toShm": "/dev/shm", "toProc": "/proc/self", "toDir": "/dir",
		"out": "/../../../../dir", "loop": "loop", "nowhere": "/no/such", "etc/link": "nowhere", "a/up": "../dir"} {
		must(t, os.Symlink(link, filepath.Join(r.path, name)))
	}
	must(t, os.WriteFile(filepath.Join(r.path, "file"), nil, 0o644))
	b := builderOf(r, planWith(plan.RootVersion))
	b.Scratch.Own["/dev"] = dev
	must(t, b.identify())
	inside := mount.RootAt(r.FD())

	content := memory(t)
	must(t, content.WriteFile("file", "content"))
	file, err := mount.Clone(content.FD(), "file", false)
	if err != nil { // the kernel copies what is attached nowhere since Linux 6.15
		must(t, content.AttachTo(filepath.Join(r.path, "etc")))
		file, err = mount.Clone(content.FD(), "file", false)
		must(t, err, unix.Unmount(filepath.Join(r.path, "etc"), unix.MNT_DETACH))
	}
	defer file.Close()
	for _, c := range []struct {
		name string
		dir  bool   // what is mounted is one
		want string // what is said; "": it is mounted
		at   string // where, if not at the name
	}{
		{"/", true, "leads to the root directory", ""},
		{"/toRoot", true, "leads to the root directory", ""},
		{"/toRootByDots", true, "leads to the root directory", ""},
		{"/a/../..", true, "leads to the root directory", ""},
		{"/toDev", true, "leads into /dev", ""},
		{"/toShm", true, "leads into /dev", ""},
		{"/toProc", true, "leads into a file system of the kernel's", ""},
		{"/proc", true, "leads into a file system of the kernel's", ""}, // over the one that is there
		{"/proc/self", true, "leads into", ""},
		{"/loop", true, "a loop of symbolic links in the image", ""},
		{"/loop/x", false, "a loop of symbolic links in the image", ""},
		{"/nowhere", true, "is not in the image", ""},
		{"/no/such", false, "is not in the image", ""},
		{"/file", true, "the source is a directory, this is not", ""},
		{"/file/x", false, "not a directory", ""},
		{"/dir", false, "the source is a file, this is a directory", ""},
		{"/toDir", true, "", "dir"}, // a directory through a link
		{"/out", true, "", "dir"},
		{"/a/up", true, "", "dir"},
		{"/a/b", true, "", "a/b"},
		{"/file", false, "", "file"},
		{"/etc/link", false, "", "etc/link"}, // a file over the link itself
	} {
		source := file
		if c.dir {
			source = memory(t)
		}
		err := b.attachTo(inside, source, c.name)
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, directory %v: %v, want %q", c.name, c.dir, err, c.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s, directory %v: %v", c.name, c.dir, err)
			continue
		}
		target, err := inside.Name(c.at)
		must(t, err)
		there, err := target.Place()
		must(t, err, target.Close())
		if attached, err := source.Place(); err != nil || there.MountID != attached.MountID || !there.IsMountRoot {
			t.Errorf("%s: something else is at %s: %+v, %+v, %v", c.name, c.at, there, attached, err)
		}
	}
	if names, err := os.ReadDir(filepath.Join(r.path, "a")); err != nil || len(names) != 2 {
		t.Errorf("the image has been changed: %v, %v", names, err)
	}
}

func TestAMissingMountPointIsMadeInACopyAndOnOnesOwnFileSystems(t *testing.T) {
	if !isInside(t) {
		return
	}
	r := newRoot(t, "tmp", "home")
	tmp, home := memory(t), memory(t)
	b := builderOf(r, planWith(plan.RootSnapshot, specs.Mount{Destination: "/tmp", Type: "tmpfs"}, specs.Mount{Destination: "/home", Type: "bind"}))
	b.Scratch.Own["/tmp"], b.sources.binds["/home"] = tmp, home
	must(t, b.identify())
	inside := mount.RootAt(r.FD())
	must(t, b.attachTo(inside, tmp, "/tmp"), b.attachTo(inside, home, "/home"), b.attachTo(inside, memory(t), "/tmp/own/dir"), b.attachTo(inside, memory(t), "/new/dir"))
	for _, name := range []string{"new/dir", "tmp/own/dir"} {
		if info, err := os.Stat(filepath.Join(r.path, name)); err != nil || !info.IsDir() {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What is bound is the host's: nothing is made there.
	if err := b.attachTo(inside, memory(t), "/home/new"); err == nil {
		t.Error("a mount point was made on a bind")
	}
	if names, err := os.ReadDir(filepath.Join(r.path, "home")); err != nil || len(names) > 0 {
		t.Errorf("the bind has %v, %v", names, err)
	}
	b.Plan.Root.Kind = plan.RootVersion
	if err := b.attachTo(inside, memory(t), "/other"); err == nil || !strings.Contains(err.Error(), `mount point "/other": is not in the image`) {
		t.Errorf("in an image: %v", err)
	}
}

func TestAPlansMountsMustHaveBeenMade(t *testing.T) {
	if !isInside(t) {
		return
	}
	for _, m := range []specs.Mount{{Destination: "/home", Type: "bind"}, {Destination: "/tmp", Type: "tmpfs"}} {
		b := builderOf(newRoot(t, "home", "tmp"), planWith(plan.RootVersion, m))
		if err := b.MountAll(); err == nil || err.Error() != m.Destination+": nothing was made for it" {
			t.Errorf("%v", err)
		}
	}
}

// sourced is a plan's mount that shows a directory or file of the host.
func sourced(source, destination string, options ...string) specs.Mount {
	return specs.Mount{Destination: destination, Type: "bind", Source: source, Options: append([]string{"rbind", "nosuid", "nodev"}, options...)}
}

// whole is a plan of a container without a procfs, for which it would take a PID 1.
func whole(mounts ...specs.Mount) *plan.Plan {
	p := planWith(plan.RootSnapshot, append([]specs.Mount{
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "ro", "mode=0755", "size=64k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "ptmxmode=0666", "mode=0620"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "nodev", "mode=1777", "size=50%"}},
		{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "nodev", "mode=1777", "size=50%"}},
		{Destination: "/run", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "nodev", "mode=0755", "size=10%"}},
	}, mounts...)...)
	p.Files = []plan.File{{Path: "/etc/hostname", Content: "name\n"}, {Path: "/etc/hosts", Content: "127.0.0.1 name\n"}}
	p.Spec.Linux.MaskedPaths = []string{"/dev/zero", "/dev/shm", "/dev/nosuch"}
	p.Spec.Linux.ReadonlyPaths = []string{"/dev/pts", "/dev/nosuch"}
	p.Spec.Root.Readonly = true
	return p
}

// build takes the steps of a launch up to the mounts, and returns the root file system.
// A ramfs stands for the container's procfs: which of two instances a mount shows is
// told in the same way, and a procfs would take a PID 1.
func build(t *testing.T, b *Builder) root {
	t.Helper()
	r := newRoot(t, "dev", "proc", "sys", "tmp", "run", "etc", "home/dev")
	b.Root = func() (Root, error) {
		fd, err := unix.FcntlInt(uintptr(r.FD()), unix.F_DUPFD_CLOEXEC, 0) // the builder closes its own
		return Root{Tree: mount.TreeFromFD(fd)}, err
	}
	must(t, os.WriteFile(filepath.Join(r.path, "etc/hostname"), []byte("image\n"), 0o644))
	must(t, with(t, privilege.SetIDs, b.BecomeRootForFiles))
	must(t, with(t, SourceCapabilities, b.OpenSources))
	must(t, with(t, ScratchCapabilities, b.BuildScratch))
	own, err := mount.New("ramfs", nil, 0)
	must(t, err, b.Scratch.attach(own, "/proc"))
	b.made.add(own)
	b.Scratch.Own["/proc"] = own
	b.Plan.Spec.Mounts = append([]specs.Mount{{Destination: "/proc", Type: "proc"}}, b.Plan.Spec.Mounts...)
	must(t, with(t, privilege.SysAdmin, b.TakeRoot))
	return r
}

// read is what is in a file, or the error.
func read(name string) string {
	data, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// checkDev looks at a /dev.
func checkDev(t *testing.T, dev string) {
	t.Helper()
	var null, zero, console unix.Stat_t
	must(t, unix.Stat(dev+"/null", &null), unix.Stat(dev+"/zero", &zero), unix.Stat(dev+"/console", &console))
	if null.Rdev != unix.Mkdev(1, 3) || zero.Rdev != null.Rdev || console.Rdev != null.Rdev {
		t.Errorf("null, the masked zero and the console are %#x, %#x, %#x", null.Rdev, zero.Rdev, console.Rdev)
	}
	for name, want := range map[string]uint64{"full": unix.Mkdev(1, 7), "random": unix.Mkdev(1, 8), "urandom": unix.Mkdev(1, 9), "tty": unix.Mkdev(5, 0)} {
		var st unix.Stat_t
		if err := unix.Stat(dev+"/"+name, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != want {
			t.Errorf("%s is %#x, %v", name, st.Rdev, err)
		}
	}
	for _, link := range devLinks {
		if got, err := os.Readlink(filepath.Join(dev, link[1])); err != nil || got != link[0] {
			t.Errorf("%s leads to %q, %v", link[1], got, err)
		}
	}
	for name, want := range map[string]error{"new": unix.EROFS, "shm/new": unix.EROFS} { // the second one is masked
		if err := unix.Mkdir(filepath.Join(dev, name), 0o755); err != want {
			t.Errorf("mkdir %s: %v, want %v", name, err, want)
		}
	}
}

func TestARootFileSystemIsPutTogetherAndEntered(t *testing.T) {
	if !isInside(t) {
		return
	}
	host := tempDir(t)
	must(t, os.WriteFile(filepath.Join(host, "file"), []byte("host"), 0o644), os.MkdirAll(filepath.Join(host, "dir/store/images"), 0o755))
	b := &Builder{Plan: whole(sourced(host+"/dir", "/home/dev/src"), sourced(host+"/file", "/etc/file", "ro"))}
	r := build(t, b)
	b.sources.hidden = []string{"/home/dev/src/store"}
	must(t, with(t, privilege.SysAdmin, b.MountAll))
	must(t, os.WriteFile(filepath.Join(r.path, "home/dev/src/new"), []byte("kept"), 0o644))
	must(t, with(t, privilege.SysAdmin, b.Pivot))
	defer unix.Close(b.ThreadProc)

	checkDev(t, "/dev")
	for name, want := range map[string]string{
		"/etc/hostname": "name\n", "/etc/hosts": "127.0.0.1 name\n", "/etc/file": "host", "/home/dev/src/new": "kept", host: "open " + host + ": no such file or directory",
	} {
		if got := read(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if names, err := os.ReadDir("/home/dev/src/store"); err != nil || len(names) > 0 {
		t.Errorf("the store shows %v, %v", names, err)
	}
	for _, name := range []string{"/etc/hostname", "/etc/hosts", "/etc/file", "/etc/new", "/new", "/home/dev/src/store/new"} {
		if err := os.WriteFile(name, nil, 0o644); !errors.Is(err, unix.EROFS) {
			t.Errorf("write %s: %v", name, err)
		}
	}
	for name, mode := range map[string]uint32{"/run": 0o755, "/run/lock": 0o1777, "/run/screen": 0o1777, "/run/sshd": 0o755, "/run/user": 0o755, "/run/user/0": 0o700, "/tmp": 0o1777} {
		var st unix.Stat_t
		if err := unix.Stat(name, &st); err != nil || st.Mode != unix.S_IFDIR|mode || st.Uid != 0 {
			t.Errorf("%s has mode %#o and owner %d, %v", name, st.Mode, st.Uid, err)
		}
	}
	if err := os.WriteFile("/tmp/new", nil, 0o644); err != nil {
		t.Errorf("/tmp: %v", err)
	}
	// The host's procfs, which no path leads to, is the thread's until the end.
	if fd, err := unix.Openat(b.ThreadProc, "status", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		t.Errorf("the thread's own status: %v", err)
	} else {
		unix.Close(fd)
	}
	must(t, with(t, privilege.SysAdmin, b.CoverHostProc)) // no bind has brought one
	b.Close()
	if got := read("/etc/hostname"); got != "name\n" {
		t.Errorf("when descriptors are closed: %q", got)
	}
}

func TestAPathOutsideOfDevProcAndSysIsNotMasked(t *testing.T) {
	if !isInside(t) {
		return
	}
	for _, change := range []func(*specs.Linux){
		func(l *specs.Linux) { l.MaskedPaths = []string{"/etc/shadow"} },
		func(l *specs.Linux) { l.ReadonlyPaths = []string{"/dev/../etc"} },
	} {
		p := whole()
		change(p.Spec.Linux)
		b := &Builder{Plan: p}
		must(t, with(t, SourceCapabilities, b.OpenSources))
		err := with(t, ScratchCapabilities, b.BuildScratch)
		if p.Spec.Linux.ReadonlyPaths[0] == "/dev/../etc" {
			// It is resolved on the scratch, where it leads to nothing of the image's.
			if err != nil {
				t.Errorf("%v", err)
			}
		} else if err == nil || !strings.Contains(err.Error(), "/etc/shadow: not in /") {
			t.Errorf("%v", err)
		}
		b.Close()
		must(t, unix.Unmount("/dev", unix.MNT_DETACH))
	}
}

// useradd(8) puts a new file in the place of an old one, of which the kernel attaches
// nothing any more.
func TestASourceThatIsReplacedIsOpenedAgain(t *testing.T) {
	if !isInside(t) {
		return
	}
	source := filepath.Join(tempDir(t), "passwd")
	for _, c := range []struct {
		replace func() error
		want    string // of what is bound, or of the error
	}{
		{func() error { return os.WriteFile(source, []byte("new"), 0o644) }, "new"},
		{func() error { return nil }, `bind source "` + source + `"`},                          // it is gone for good
		{func() error { return unix.Mkfifo(source, 0o644) }, "which no mount makes read-only"}, // and asked about as the first one was
		{func() error { return os.Symlink("/dev", source) }, "is in /dev, where it cannot be opened again"},
	} {
		_ = os.Remove(source)
		must(t, os.WriteFile(source, []byte("old"), 0o644))
		b := &Builder{Plan: whole(sourced(source, "/etc/passwd", "ro"))}
		r := build(t, b)
		must(t, os.Remove(source), c.replace())
		got := ""
		if err := with(t, privilege.SysAdmin, b.MountAll); err != nil {
			got = err.Error()
		} else {
			got = read(filepath.Join(r.path, "etc/passwd"))
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%q, want %q", got, c.want)
		}
		b.Close()
		must(t, unix.Unmount("/dev", unix.MNT_DETACH))
	}
}

func TestABindHasTheAttributesOfItsOptions(t *testing.T) {
	if !isInside(t) {
		return
	}
	host := tempDir(t)
	must(t, os.MkdirAll(filepath.Join(host, "below"), 0o755), unix.Mount("tmpfs", filepath.Join(host, "below"), "tmpfs", 0, ""))
	for _, c := range []struct {
		options     []string
		here, below int64 // flags of statfs(2)
	}{
		{[]string{"rbind", "nosuid", "nodev", "ro"}, unix.ST_RDONLY | unix.ST_NOSUID | unix.ST_NODEV, unix.ST_RDONLY | unix.ST_NOSUID | unix.ST_NODEV},
		{[]string{"rbind", "noexec"}, unix.ST_NOEXEC, unix.ST_NOEXEC},
	} {
		r := newRoot(t, "bind")
		p := planWith(plan.RootVersion, specs.Mount{Destination: "/bind", Type: "bind", Source: host, Options: c.options})
		b := builderOf(r, p)
		must(t, b.sources.openBinds(p, p.Spec.Mounts), b.MountAll())
		for name, want := range map[string]int64{"bind": c.here, "bind/below": c.below} {
			var fs unix.Statfs_t
			must(t, unix.Statfs(filepath.Join(r.path, name), &fs))
			if fs.Flags&want != want {
				t.Errorf("%q: %s has flags %#x", c.options, name, fs.Flags)
			}
		}
		must(t, mount.CloseAll(b.sources.trees()))
	}
}

func TestACallerBindsOnlyFromWhereThePolicySays(t *testing.T) {
	if !isInside(t) {
		return
	}
	top, err := filepath.EvalSymlinks(tempDir(t))
	must(t, err)
	must(t, os.MkdirAll(filepath.Join(top, "allowed"), 0o755), os.MkdirAll(filepath.Join(top, "readOnly"), 0o755), os.MkdirAll(filepath.Join(top, "other"), 0o755),
		os.Symlink("../other", filepath.Join(top, "allowed/link")))
	for _, c := range []struct {
		name            string
		readOnly, asked bool
		allowed         bool
	}{
		{"allowed", false, true, true},
		{"allowed", true, true, true},
		{"readOnly", true, true, true},
		{"readOnly", false, true, false},
		{"other", true, true, false},
		{"allowed/link", false, true, false}, // where it really is counts
		{"other", false, false, true},        // the administrator's own
	} {
		options := []string{"rbind"}
		if c.readOnly {
			options = append(options, "ro")
		}
		p := planWith(plan.RootVersion, specs.Mount{Destination: "/bind", Type: "bind", Source: filepath.Join(top, c.name), Options: options})
		p.BindFrom, p.BindReadOnlyFrom = []string{filepath.Join(top, "allowed")}, []string{filepath.Join(top, "readOnly")}
		if c.asked {
			p.CallerBinds = []string{"/bind"}
		}
		s := &sources{binds: map[string]mount.Tree{}}
		if err := s.openBinds(p, p.Spec.Mounts); (err == nil) != c.allowed {
			t.Errorf("%+v: %v", c, err)
		}
		must(t, mount.CloseAll(s.trees()))
	}
}

func TestAProcfsOfTheHostsIsCoveredOrRefused(t *testing.T) {
	if !isInside(t) {
		return
	}
	if role := os.Getenv("MAYFLY_TEST_ROLE"); role == "" {
		// To enter a root file system is for the whole process: so each case has its
		// own.
		for _, role := range []string{"policy", "caller", "covered"} {
			t.Logf("role %s", role)
			inside.Again(t, []string{"MAYFLY_TEST_ROLE=" + role}, &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS})
		}
		return
	}
	host := tempDir(t)
	below := filepath.Join(host, "chroot/proc")
	must(t, os.MkdirAll(below, 0o755), unix.Mount("ramfs", below, "ramfs", 0, ""), os.WriteFile(below+"/1", nil, 0o644))
	if os.Getenv("MAYFLY_TEST_ROLE") == "covered" {
		must(t, unix.Mount("tmpfs", below, "tmpfs", 0, ""))
	}
	b := &Builder{Plan: whole(sourced(host, "/home/dev"))}
	if os.Getenv("MAYFLY_TEST_ROLE") == "caller" {
		b.Plan.CallerBinds, b.Plan.BindFrom = []string{"/home/dev"}, []string{"/"}
	}
	build(t, b)
	must(t, with(t, privilege.SysAdmin, b.MountAll))
	must(t, with(t, privilege.SysAdmin, b.Pivot))
	err := with(t, privilege.SysAdmin, b.CoverHostProc)
	if os.Getenv("MAYFLY_TEST_ROLE") == "caller" {
		if err == nil || !strings.Contains(err.Error(), `bind source "`+host+`": has the host's processes in it, at "`+below+`"`) {
			t.Errorf("%v", err)
		}
		return
	}
	must(t, err)
	if names, err := os.ReadDir("/home/dev/chroot/proc"); err != nil || len(names) > 0 {
		t.Errorf("the host's processes: %v, %v", names, err)
	}
	if err := os.WriteFile("/proc/new", nil, 0o644); err != nil {
		t.Errorf("the container's own is covered, too: %v", err)
	}
}
