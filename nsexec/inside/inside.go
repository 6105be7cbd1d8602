// Package inside is for unit tests that want other rights than they have: it executes
// the test program again, for the calling test alone, as somebody else. Only tests
// import it; it imports nothing of the project.
package inside

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// variable is set to the name of the test for a program executed again.
const variable = "MAYFLY_TEST_INSIDE"

// nobody is an id without rights, as user and as group.
const nobody = 65534

// Runs tells whether the test runs inside: as root of a user namespace of its own, with
// every capability there and a single id, which is the user's outside. Otherwise Runs
// executes the test program again inside, for this test alone, and reports what comes
// of it; the test then returns. Without a user namespace the test fails.
func Runs(t *testing.T) bool {
	t.Helper()
	return runs(t, 0, 0)
}

// RunsWithID is Runs with another single id inside, and with variables added to the
// environment.
func RunsWithID(t *testing.T, id int, env ...string) bool {
	t.Helper()
	return runs(t, 0, id, env...)
}

// RunsIn is Runs with further new namespaces: CLONE_NEWNS and others.
func RunsIn(t *testing.T, namespaces uintptr) bool {
	t.Helper()
	return runs(t, namespaces, 0)
}

func runs(t *testing.T, namespaces uintptr, id int, env ...string) bool {
	t.Helper()
	if os.Getenv(variable) == t.Name() {
		return true
	}
	Again(t, env, &syscall.SysProcAttr{
		Cloneflags:                 syscall.CLONE_NEWUSER | namespaces,
		UidMappings:                []syscall.SysProcIDMap{{ContainerID: id, HostID: os.Getuid(), Size: 1}},
		GidMappings:                []syscall.SysProcIDMap{{ContainerID: id, HostID: os.Getgid(), Size: 1}},
		GidMappingsEnableSetgroups: os.Getuid() == 0,
	})
	return false
}

// AsRoot tells whether the test runs as root, be it the host's or that of a user
// namespace. Otherwise it executes the test inside, as Runs does.
func AsRoot(t *testing.T) bool {
	t.Helper()
	return os.Getuid() == 0 || Runs(t)
}

// AsUser tells whether the test runs as an ordinary user. Otherwise it executes the
// test program again as nobody, in "/", for this test alone, and reports what comes of
// it; the test then returns.
func AsUser(t *testing.T) bool {
	t.Helper()
	if os.Getuid() != 0 {
		return true
	}
	Again(t, nil, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}})
	return false
}

// Again executes the test program for the calling test alone, as attr says and with env
// added to the environment, and waits for it. What it prints is shown where the test did
// not pass.
func Again(t *testing.T, env []string, attr *syscall.SysProcAttr) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.count=1", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(append(os.Environ(), variable+"="+t.Name(), "GORACE=atexit_sleep_ms=0"), env...)
	if attr.Credential != nil {
		cmd.Dir = "/"
	}
	attr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &ended):
		t.Fatalf("execute this test again: %v; a user namespace may be refused: see user_namespaces(7), and in sysctl user.max_user_namespaces and kernel.apparmor_restrict_unprivileged_userns", err)
	case err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()):
		t.Errorf("executed again: %v\n%s", err, out)
	}
}
