// Package inside is for tests that want capabilities and not root: it executes the test
// program again, as root of a user namespace. Tests of mount and nsexec import it; it
// imports nothing of the project.
package inside

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

const variable = "MAYFLY_TEST_INSIDE"

// Runs tells whether the test runs inside: as root of a user namespace of its own, with
// every capability there and a single id, which is the user's outside. Otherwise Runs
// executes the test program again inside, for this test alone, and reports what comes
// of it; the test then returns. Without a user namespace the test fails.
func Runs(t *testing.T) bool {
	t.Helper()
	if os.Getenv(variable) == t.Name() {
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.count=1", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), variable+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:                 syscall.CLONE_NEWUSER,
		UidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		GidMappingsEnableSetgroups: os.Getuid() == 0,
	}
	out, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &ended):
		t.Fatalf("no user namespace for this test: %v; see user_namespaces(7) and user.max_user_namespaces in sysctl; root may have one", err)
	case err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()):
		t.Errorf("inside: %v\n%s", err, out)
	}
	return false
}
