// Package grant tests what an administrator does: grant the binary, write a policy,
// read the log.
package grant

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mayfly/integration/kit"
	"mayfly/nsexec"
	"mayfly/runtime/privilege"
)

const (
	dir    = "/usr/local/lib/mayfly-grant"
	binary = dir + "/runtime"
	// operation tells this program, started again with some capabilities, what to try.
	operation = "MAYFLY_OPERATION"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(operation); name != "" {
		os.Exit(try(name))
	}
	kit.Main(m, func() { _ = os.RemoveAll(dir) })
}

// operations are what each capability is for, the smallest call that needs it.
var operations = map[string]func() error{
	"cap_sys_admin": func() error {
		return errors.Join(raised(unix.CAP_SYS_ADMIN), nsexec.Unshare(unix.CLONE_NEWNS|unix.CLONE_NEWPID|unix.CLONE_NEWUTS|unix.CLONE_NEWIPC|unix.CLONE_NEWCGROUP))
	},
	"cap_setuid":  func() error { return errors.Join(raised(unix.CAP_SETUID), nsexec.SetFSIDs(0, os.Getgid())) },
	"cap_setgid":  func() error { return errors.Join(raised(unix.CAP_SETGID), nsexec.SetFSIDs(os.Getuid(), 0)) },
	"cap_setpcap": func() error { return errors.Join(raised(unix.CAP_SETPCAP), nsexec.LimitBounding(0)) },
}

// raised makes a capability effective, if it is permitted.
func raised(capability int) error {
	now, err := nsexec.CurrentCapabilities()
	if err != nil {
		return err
	}
	return nsexec.SetEffective(now.Permitted & (1 << capability))
}

func try(name string) int {
	if err := operations[name](); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// install makes a copy of the binary, without a grant.
func install(t *testing.T) {
	t.Helper()
	data, err := os.ReadFile(kit.Runtime)
	kit.Must(t, err)
	kit.Must(t, os.MkdirAll(dir, 0o755))
	kit.Must(t, os.RemoveAll(binary))
	kit.Must(t, os.WriteFile(binary, data, 0o755))
	kit.Must(t, os.Chmod(binary, 0o755))
}

func as(t *testing.T, user string, args ...string) kit.Result {
	t.Helper()
	return kit.Do(t, kit.As(t, user, args...))
}

func TestEachCapabilityIsNeeded(t *testing.T) {
	install(t)
	self, err := os.Executable()
	kit.Must(t, err)
	data, err := os.ReadFile(self)
	kit.Must(t, err)
	helper := filepath.Join(dir, "operations")
	kit.Must(t, os.WriteFile(helper, data, 0o755))
	all := []string{}
	for _, n := range privilege.LaunchRequirements {
		all = append(all, n.Name)
	}
	for _, n := range privilege.LaunchRequirements {
		others := strings.ReplaceAll(strings.ReplaceAll(","+strings.Join(all, ",")+",", ","+n.Name+",", ","), ",,", ",")
		kit.Must(t, exec.Command("setcap", strings.Trim(others, ",")+"=p", binary).Run())
		r := as(t, kit.User, binary, "run", kit.Image, "true")
		if r.Code != 125 || !strings.Contains(r.Err, n.Name+" is missing") {
			t.Errorf("without %s: %+v", n.Name, r)
		}
		for with, code := range map[bool]int{true: 0, false: 1} {
			cmd := kit.As(t, kit.User, helper)
			cmd.Env = append(cmd.Env, operation+"="+n.Name)
			for _, m := range privilege.LaunchRequirements {
				if with || m.Bit != n.Bit {
					cmd.SysProcAttr.AmbientCaps = append(cmd.SysProcAttr.AmbientCaps, uintptr(m.Bit))
				}
			}
			r := kit.Do(t, cmd)
			if r.Code != code || !with && !strings.Contains(r.Out, "not permitted") {
				t.Errorf("%s is there: %v; to %s: %+v", n.Name, with, n.Why, r)
			}
			if !with {
				t.Logf("without %s, to %s: %s", n.Name, n.Why, strings.TrimSpace(r.Out))
			}
		}
	}
	kit.Must(t, exec.Command("setcap", strings.Join(all, ",")+"=p", binary).Run())
	if r := as(t, kit.User, binary, "run", kit.Image, "true"); r.Code != 0 {
		t.Errorf("with these four: %+v", r)
	}
	kit.NothingLeft(t)
}

func TestGrantingAndTakingAway(t *testing.T) {
	install(t)
	runs := func(user string) bool { return as(t, user, binary, "run", kit.Image, "true").Code == 0 }
	check := func(want ...string) {
		t.Helper()
		r := kit.Root(t, "grant", "--check", binary)
		for _, text := range want {
			if !strings.Contains(r.Out+r.Err, text) {
				t.Errorf("--check: %+v, want %q", r, text)
			}
		}
	}
	if runs(kit.User) {
		t.Error("it runs before it is granted")
	}
	check("grant        no grant", "executed by  everybody")
	model := binary + ".model"
	kit.Command(t, "cp", binary, model)
	defer os.Remove(model)
	kit.Command(t, kit.Runtime, "grant", "--setuid", "--group", kit.Group, model)
	for _, c := range []struct {
		flags       []string
		user, other bool
		check       string
	}{
		{nil, true, true, "cap_sys_admin,cap_setuid,cap_setgid,cap_setpcap\n"},
		{[]string{"--group", kit.Group}, true, false, "group " + kit.Group},
		{[]string{"--setuid"}, true, true, "set-user-ID root"},
		{[]string{"--setuid", "--group", kit.Group}, true, false, "group " + kit.Group},
		{[]string{"--remove"}, false, false, "no grant"},
		{[]string{"--like", model}, true, false, "group " + kit.Group},
		{[]string{"--like", kit.Runtime}, true, true, "cap_sys_admin,cap_setuid,cap_setgid,cap_setpcap\n"},
	} {
		args := append(append([]string{"grant"}, c.flags...), binary)
		if r := kit.Root(t, args...); r.Code != 0 {
			t.Errorf("%v: %+v", args, r)
		}
		if user, other := runs(kit.User), runsOrDenied(t, kit.Other); user != c.user || other != c.other {
			t.Errorf("%v: %s runs: %v, %s runs: %v", args, kit.User, user, kit.Other, other)
		}
		check(c.check)
	}
	r := kit.Root(t, "grant", "--sudo", "--group", kit.Group, binary)
	if want := "%" + kit.Group + " ALL=(root) NOPASSWD: NOSETENV: " + binary + " as-caller *\n"; r.Out != want {
		t.Errorf("--sudo: %+v, want %q", r, want)
	}
	file := filepath.Join(t.TempDir(), "sudoers")
	kit.Must(t, os.WriteFile(file, []byte(r.Out), 0o440))
	if out, err := exec.Command("visudo", "--check", "--file", file).CombinedOutput(); err != nil {
		t.Errorf("visudo: %v: %s", err, out)
	}
	for _, args := range [][]string{{"--group", "nosuchgroup", binary}, {"--setuid", "--sudo", binary}, {"/nosuch"}, {"/etc/passwd", "x"}, {"/tmp"}, {"--group", "-x", binary}, {"--like", "/nosuch", binary}, {"--like", "/proc/self/exe", "--group", "root", binary}} {
		if r := kit.Root(t, append([]string{"grant"}, args...)...); r.Code != 125 || strings.Count(r.Err, "\n") != 1 {
			t.Errorf("grant %v: %+v", args, r)
		}
	}
	if r := as(t, kit.User, kit.Runtime, "grant", binary); r.Code != 125 || !strings.Contains(r.Err, "only root") {
		t.Errorf("a user grants: %+v", r)
	}
}

// runsOrDenied is like a launch, where the shell finds out that it may not execute.
func runsOrDenied(t *testing.T, user string) bool {
	t.Helper()
	return as(t, user, "sh", "-c", `exec "$0" run "$1" true`, binary, kit.Image).Code == 0
}

func TestAGrantThatIsNotHonoured(t *testing.T) {
	point := "/usr/local/lib/mayfly-nosuid"
	kit.Must(t, os.MkdirAll(point, 0o755))
	kit.Must(t, exec.Command("mount", "-t", "tmpfs", "-o", "nosuid,mode=0755", "tmpfs", point).Run())
	defer func() {
		_ = exec.Command("umount", point).Run()
		_ = os.Remove(point)
	}()
	data, err := os.ReadFile(kit.Runtime)
	kit.Must(t, err)
	file := filepath.Join(point, "runtime")
	kit.Must(t, os.WriteFile(file, data, 0o755))
	for _, flag := range []string{"", "--setuid"} {
		args := []string{"grant", file}
		if flag != "" {
			args = []string{"grant", flag, file}
		}
		if r := kit.Root(t, args...); r.Code != 0 {
			t.Fatalf("%+v", r)
		}
		if r := kit.Root(t, "grant", "--check", file); r.Code != 125 || !strings.Contains(r.Err, "nosuid") {
			t.Errorf("--check: %+v", r)
		}
		if r := as(t, kit.User, file, "run", kit.Image, "true"); r.Code != 125 || !strings.Contains(r.Err, "grant --check") {
			t.Errorf("a launch: %+v", r)
		}
	}
	r := as(t, kit.User, file, "grant", "--check")
	if r.Code != 125 || !strings.Contains(r.Err, "is missing") || !strings.Contains(r.Err, "nosuid") {
		t.Errorf("as the user: %+v", r)
	}
}

// Subcommands that need no capability have none.
func TestWhatNeedsNothingHasNothing(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"policy", "check"}, {"policy", "explain", kit.Image}, {"policy", "default"}} {
		trace := filepath.Join(t.TempDir(), "trace")
		cmd := exec.Command("strace", append([]string{"-f", "-o", trace, "-e", "trace=capset", "-u", kit.User, kit.Runtime}, args...)...)
		if r := kit.Do(t, cmd); r.Code != 0 {
			t.Fatalf("%v: %+v", args, r)
		}
		data, err := os.ReadFile(trace)
		kit.Must(t, err)
		if !strings.Contains(string(data), "effective=0, permitted=0, inheritable=0}") {
			t.Errorf("%v drops nothing:\n%s", args, data)
		}
	}
}
