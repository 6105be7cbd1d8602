package imageadmin

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"mayfly/runtime/caller"
	"mayfly/runtime/here"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/privilege"
)

// roleVariable is set for copies of the test's program.
const roleVariable = "MAYFLY_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "execute":
		fmt.Println("returned:", executeAsRoot(here.Here{}, roleVariable+"=tell"))
	case "refused":
		err := ExecuteAsRoot(here.Here{})
		fmt.Println(errors.Is(err, caller.ErrNotPermitted), errors.Is(err, privilege.ErrNoPrivilege), err)
	case "tell":
		fmt.Printf("%d %d %d\n", os.Getuid(), os.Geteuid(), unix.Umask(0))
		fmt.Println(strings.Join(os.Environ(), "\n"))
	default:
		os.Exit(m.Run())
	}
}

// as runs a copy of the test's program as a user, with an environment.
func as(t *testing.T, uid uint32, env ...string) string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Dir, cmd.Env = "/", env
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: uid}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// A caller's LD_PRELOAD or PATH would be root's. Only root can become root in a test;
// of a user it is told that they cannot.
func TestRootGetsACleanEnvironment(t *testing.T) {
	out := as(t, 0, roleVariable+"=execute", "TERM=xterm", "LANG=de_DE", "LC_ALL=C", "LC_=x", "http_proxy=http://p", "https_proxy=http://q", "no_proxy=*",
		"PATH=/evil", "HOME=/evil", "USER=evil", "LOGNAME=evil", "SHELL=/evil", "LD_LIBRARY_PATH=/evil", "TERMINFO=/evil", "TZ=/evil", "GODEBUG=x", "GOTRACEBACK=crash",
		"XDG_DATA_HOME=/evil", "MAYFLY_REALM=in:0:0:/evil", "MAYFLY_CALLER=0", "TMPDIR=/evil", "LANGUAGE=evil", "HTTP_PROXY=http://evil", "BASH_ENV=/evil")
	if os.Getuid() != 0 {
		if !strings.HasPrefix(out, "returned: become root for images: ") {
			t.Errorf("%s", out)
		}
		return
	}
	lines := strings.Split(out, "\n")
	if lines[0] != "0 0 18" { // 0o022
		t.Errorf("user, effective user and umask are %s", lines[0])
	}
	want := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "USER=root", "LOGNAME=root", "SHELL=/bin/sh",
		"TERM=xterm", "LANG=de_DE", "LC_ALL=C", "LC_=x", "http_proxy=http://p", "https_proxy=http://q", "no_proxy=*", roleVariable + "=tell"}
	if got := lines[1:]; !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestWhoHasNoGrantDoesNotBecomeRoot(t *testing.T) {
	if out := as(t, 65534, roleVariable+"=refused"); !strings.HasPrefix(out, "true true ") {
		t.Errorf("not permitted, no privilege: %s", out)
	}
}

func TestWhoMayNotLookIsToldNothingOfAnImage(t *testing.T) {
	if list, err := HiddenBy(here.Here{}, rule.Decision{Rule: rule.Rule{Bind: []string{"/"}}}, "no such image"); list != nil || err != nil && os.Getuid() != 0 {
		t.Errorf("%q, %v", list, err)
	}
}
