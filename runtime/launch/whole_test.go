package launch

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/nsexec"
	"mayfly/nsexec/inside"
	"mayfly/runtime/cgroup"
	"mayfly/runtime/control"
	"mayfly/runtime/here"
	"mayfly/runtime/plan"
	"mayfly/runtime/rootfs"
	"mayfly/runtime/status"
)

// isInside runs the calling test in a process of its own, in a new user and a new mount
// namespace, where it is root, and /tmp is empty. It returns true there, and false in
// the test that waits for that process.
func isInside(t *testing.T) bool {
	t.Helper()
	if !inside.RunsIn(t, unix.CLONE_NEWNS) {
		return false
	}
	if err := errors.Join(mount.MakePrivate("/"), unix.Mount("tmpfs", "/tmp", "tmpfs", 0, "mode=0755"), nsexec.Undumpable()); err != nil {
		t.Fatal(err)
	}
	return true
}

// container is a plan of one that has the host's programs and a directory of the
// test's.
func container(t *testing.T, script string) (p *plan.Plan, out string) {
	t.Helper()
	out, err := os.MkdirTemp("/tmp", "")
	if err != nil {
		t.Fatal(err)
	}
	kernel := []string{"nosuid", "nodev", "noexec"}
	mounts := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: kernel},
		{Destination: "/sys", Type: "bind", Source: "/sys", Options: []string{"rbind", "nosuid", "nodev", "ro"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "ro", "mode=0755", "size=64k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "ptmxmode=0666", "mode=0620"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "nodev", "mode=1777"}},
		{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "nodev", "mode=1777"}},
		{Destination: "/run", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "nodev", "mode=0755"}},
		{Destination: "/out", Type: "bind", Source: out, Options: []string{"rbind", "nosuid", "nodev"}},
	}
	for _, dir := range []string{"/usr", "/bin", "/lib", "/lib64"} {
		if _, err := os.Stat(dir); err == nil {
			mounts = append(mounts, specs.Mount{Destination: dir, Type: "bind", Source: dir, Options: []string{"rbind", "nosuid", "nodev", "ro"}})
		}
	}
	p = &plan.Plan{Container: "c", Root: plan.Root{Kind: plan.RootSnapshot}, Files: []plan.File{{Path: "/etc/hostname", Content: "inside\n"}}, DirRequired: true}
	linux := &specs.Linux{Personality: &specs.LinuxPersonality{Domain: specs.PerLinux}, MaskedPaths: []string{"/proc/keys"}, ReadonlyPaths: []string{"/proc/sys"}}
	for _, kind := range plan.Namespaces {
		linux.Namespaces = append(linux.Namespaces, specs.LinuxNamespace{Type: kind})
	}
	p.Spec = specs.Spec{Version: specs.Version, Hostname: "inside", Root: &specs.Root{Path: "/", Readonly: true}, Linux: linux, Mounts: mounts, Process: &specs.Process{
		Args: []string{"sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin", "HOME=/"}, Cwd: "/out", NoNewPrivileges: true, Capabilities: &specs.LinuxCapabilities{}}}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	return p, out
}

// launched starts a container, and has it end with the test.
func launched(t *testing.T, p *plan.Plan) (*Launch, error) {
	t.Helper()
	nothing := func() error { return nil }
	tell := func(text string) { t.Errorf("told: %s", text) }
	l := New(here.Here{}, p, func() (rootfs.Root, error) {
		tree, err := mount.New("tmpfs", []string{"mode=0755"}, 0)
		return rootfs.Root{Tree: tree}, err
	},
		Outside{Note: tell, Warn: tell, AwaitRecord: nothing, AwaitLog: nothing, Group: func() *cgroup.Group { return nil }, Umask: 0o027})
	l.Start()
	err := <-l.Started
	t.Cleanup(func() {
		close(l.Over)
		if l.Init == nil {
			return
		}
		l.Init.Kill()
		if l.Process != nil && !l.Process.Reaped() {
			_, _ = l.Process.Wait()
		}
		if err := l.Init.Wait(time.Minute); err != nil {
			t.Error(err)
		}
	})
	return l, err
}

func TestAContainerIsWhatItsPlanSays(t *testing.T) {
	if !isInside(t) {
		return
	}
	if err := os.WriteFile("/tmp/of-the-host", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	p, out := container(t, `exec >report
		id -u; cat /proc/sys/kernel/hostname /proc/1/comm /etc/hostname; pwd; umask
		grep -hE '^(CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status
		echo /*; ls /tmp; ls /proc/self/fd | wc -l
		for f in /new /etc/new /usr/new /dev/new /proc/sys/kernel/domainname; do (: >$f) 2>/dev/null && echo "$f was written to"; done
		echo x >/tmp/x && echo x >/dev/null && echo fine
		ls /proc | grep -c '^[0-9]*$'`)
	l, err := launched(t, p)
	if err != nil {
		t.Fatal(err)
	}
	ws, err := l.Process.Wait()
	if err != nil || status.EndOf(ws) != (status.End{}) {
		t.Errorf("wait status %#x, %v", uint32(ws), err)
	}
	report, err := os.ReadFile(filepath.Join(out, "report"))
	if err != nil {
		t.Fatal(err)
	}
	lib64 := ""
	if _, err := os.Stat("/lib64"); err == nil {
		lib64 = " /lib64"
	}
	want := "0\ninside\nmayfly-init\ninside\n/out\n0027\n" +
		"CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n" +
		"/bin /dev /etc /lib" + lib64 + " /out /proc /run /sys /tmp /usr\n" + "4\nfine\n"
	got, processes := string(report), ""
	if i := strings.Index(got, "fine\n"); i >= 0 {
		got, processes = got[:i+5], strings.TrimSpace(got[i+5:])
	}
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if processes != "4" && processes != "3" { // PID 1, the shell, ls, and grep where it has begun
		t.Errorf("%s processes are seen", processes)
	}
}

func TestAnotherCommandJoinsAContainer(t *testing.T) {
	if !isInside(t) {
		return
	}
	p, out := container(t, "exec sleep 1000")
	l, err := launched(t, p)
	if err != nil {
		t.Fatal(err)
	}
	process, _, err := l.Ask(control.Exec{Args: []string{"sh", "-c", "cat /proc/sys/kernel/hostname /proc/1/comm >joined; grep CapPrm /proc/self/status >>joined"}, KeepTerm: true}, []int{0, 1, 2})
	if err != nil {
		t.Fatal(err)
	}
	if ws, err := process.Wait(); err != nil || ws != 0 {
		t.Errorf("wait status %#x, %v", uint32(ws), err)
	}
	if text, err := os.ReadFile(filepath.Join(out, "joined")); err != nil || string(text) != "inside\nmayfly-init\nCapPrm:\t0000000000000000\n" {
		t.Errorf("%q, %v", text, err)
	}
	_ = process.Close()
}

func TestALaunchThatCannotBeSaysWhatAndWhere(t *testing.T) {
	if !isInside(t) {
		return
	}
	for want, change := range map[string]func(p *plan.Plan){
		"open what is bound from the host: bind source \"/no/such\"": func(p *plan.Plan) { p.Spec.Mounts[7].Source = "/no/such" },
		"make namespaces: namespace of kind time":                    func(p *plan.Plan) { p.Spec.Linux.Namespaces[0].Type = specs.TimeNamespace },
		"build /dev, /proc and /sys: /etc: not in":                   func(p *plan.Plan) { p.Spec.Linux.MaskedPaths = []string{"/etc"} },
		"mount: mount point \"/dev/full/x\"":                         func(p *plan.Plan) { p.Spec.Mounts[7].Destination = "/out"; p.Files[0].Path = "/dev/full/x" },
		"confine: personality x: none":                               func(p *plan.Plan) { p.Spec.Linux.Personality.Domain = "x" },
		"confine: capability CAP_SYS_ADMIN":                          func(p *plan.Plan) { p.Spec.Process.Capabilities.Bounding = []string{"CAP_SYS_ADMIN"} },
		"change directory: /no/such":                                 func(p *plan.Plan) { p.Spec.Process.Cwd = "/no/such" },
		"no-such-command: command not found":                         func(p *plan.Plan) { p.Spec.Process.Args = []string{"no-such-command"} },
		"execute: limit RLIMIT_CORE":                                 func(p *plan.Plan) { p.Spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE"}} },
	} {
		p, _ := container(t, "exit 0")
		change(p)
		if l, err := launched(t, p); err == nil || !strings.HasPrefix(err.Error(), want) || l.Process != nil {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
