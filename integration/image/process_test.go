package image

import (
	"os/exec"
	"syscall"
	"testing"

	"mayfly/integration/kit"
)

// A process is a command of ours that runs in the background.
type process struct{ cmd *exec.Cmd }

func background(t testing.TB, args ...string) process {
	t.Helper()
	cmd := exec.Command(kit.Runtime, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return process{cmd}
}

func (p process) wait() int {
	_ = p.cmd.Wait()
	return kit.Code(p.cmd.ProcessState)
}

// interrupt is Ctrl-C.
func (p process) interrupt(t testing.TB) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	if code := p.wait(); code != 125 {
		t.Errorf("interrupted: exit %d", code)
	}
}
