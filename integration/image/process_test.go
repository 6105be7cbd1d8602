package image

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

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

// interrupt is Ctrl-C. What does not end is killed.
func (p process) interrupt(t testing.TB) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	limit := time.AfterFunc(kit.Within(time.Minute), func() { _ = p.cmd.Process.Kill() })
	defer limit.Stop()
	if code := p.wait(); code != 125 {
		t.Errorf("interrupted: exit %d", code)
	}
}

// blocks is how many blocks of 512 bytes a file takes.
func blocks(info os.FileInfo) int64 { return info.Sys().(*syscall.Stat_t).Blocks }

// recipe writes a recipe file.
func recipe(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "image.toml")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}
