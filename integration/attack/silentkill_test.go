package attack

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"mayfly/integration/kit"
)

// A supervisor whose standard input is in a file system that does not let it close that
// holds its record, and PID 1, though it has been killed. `kill` ends what is in the
// container all the same, where it can tell what that is, and says nothing else.
func TestC36KillWhereStandardInputIsNeverClosed(t *testing.T) {
	eachWaiting(t, func(t *testing.T, w way) {
		owner := func() kit.Result { return w.run(t, "kill", "--signal", "KILL", "closes") }
		root := func() kit.Result { return kit.Root(t, "kill", "--signal", "KILL", kit.User+"/closes") }
		t.Run("stopped", func(t *testing.T) {
			s, cmd, supervisor := closing(t, w)
			kit.Must(t, syscall.Kill(supervisor, syscall.SIGSTOP))
			if !saysWhatIs(t, owner()) {
				t.Error("the owner cannot end it")
			}
			s.letGo(cmd)
		})
		t.Run("killed", func(t *testing.T) {
			s, cmd, supervisor := closing(t, w)
			kit.Must(t, syscall.Kill(supervisor, syscall.SIGKILL))
			s.await("asked")
			saysWhatIs(t, owner()) // whose child PID 1 is depends on which thread was the last
			if !saysWhatIs(t, root()) {
				t.Error("root cannot end it")
			}
			s.letGo(cmd)
		})
	})
}

// saysWhatIs checks that `kill` says whether the container goes on, and what is left.
func saysWhatIs(t *testing.T, r kit.Result) (ended bool) {
	t.Helper()
	if r.Code != 125 || strings.Count(r.Err, "\n") != 1 || !strings.Contains(r.Err, "has been killed, and has not ended") {
		t.Errorf("%+v", r)
	}
	inits := kit.Inits(t)
	if says := strings.Contains(r.Err, "all in the container has been killed"); says && len(inits) > 0 {
		t.Errorf("PID 1 is %v: %s", inits, r.Err)
	}
	return len(inits) == 0
}

func (s *silence) letGo(cmd *exec.Cmd) {
	s.t.Helper()
	s.end()
	_ = cmd.Process.Signal(syscall.SIGCONT) // sudo stops when what it has started does
	_ = cmd.Wait()
	gc(s.t)
}

// closing starts a container of which standard input is in a file system that does not
// let anybody close it from then on.
func closing(t *testing.T, w way) (*silence, *exec.Cmd, int) {
	t.Helper()
	s := mountSilence(t, "closing")
	cmd := w.cmd(t, "run", "--name", "closes", kit.Image, "sleep", "1000")
	cmd.Args = append([]string{"sh", "-c", `exec "$@" <` + s.program, "sh"}, cmd.Args...)
	cmd.Path = "/bin/sh"
	kit.Must(t, cmd.Start())
	_, supervisor := recorded(t, "closes")
	kit.Eventually(t, "the container can be joined", func() bool { return w.run(t, "exec", "closes", "true").Code == 0 })
	kit.Must(t, s.server.Process.Signal(syscall.SIGUSR1))
	return s, cmd, supervisor
}
