package privilege

import (
	"errors"
	"os"
	"os/exec"
	goruntime "runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/nsexec/inside"
	"mayfly/runtime/here"
)

func TestABracketRestoresWhatItFound(t *testing.T) {
	if !inside.Runs(t) {
		return
	}
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	wrong := errors.New("wrong")
	for _, found := range []uint64{None, SetIDs, SysAdmin | SetIDs} {
		if err := nsexec.SetEffective(found); err != nil {
			t.Fatal(err)
		}
		before, err := nsexec.CurrentRights()
		if err != nil {
			t.Fatal(err)
		}
		err = AsRoot(here.Here{}, SysAdmin, func() error {
			if have, err := nsexec.CurrentCapabilities(); err != nil || have.Effective != SysAdmin {
				t.Errorf("in the bracket: %x, %v", have.Effective, err)
			}
			return wrong
		})
		if after, same := nsexec.CurrentRights(); err != wrong || same != nil || after != before {
			t.Errorf("%v, %v: %+v, want %+v", err, same, after, before)
		}
	}
}

func TestABracketThatCannotRestoreEndsTheProcess(t *testing.T) {
	if !inside.Runs(t) {
		return
	}
	const role = "MAYFLY_TEST_ROLE"
	if os.Getenv(role) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.v", "-test.count=1", "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), role+"=loses its capabilities")
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != exitCode || !strings.Contains(string(out), "restore the rights of a thread: ") ||
			!strings.Contains(string(out), "f's error") || strings.Contains(string(out), "goes on") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	defer t.Log("goes on")
	err := AsRoot(here.Here{}, None, func() error {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		return errors.Join(errors.New("f's error"), unix.Capset(&header, &none[0]))
	})
	t.Errorf("goes on: %v", err)
}
