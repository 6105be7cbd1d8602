// Package ci acts as the runners of CI systems do, written from their documentation: for
// each system a driver that calls what `runtime ci` offers, as an ordinary user.
package ci

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mayfly/integration/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// file writes a file of the user's.
func file(t *testing.T, name, text string) string {
	t.Helper()
	_, uid, gid := kit.Lookup(t, kit.User)
	kit.Must(t, errors.Join(os.WriteFile(name, []byte(text), 0o755), os.Chown(name, int(uid), int(gid))))
	return name
}

// all are the user's: the next checkout can remove them.
func all(t *testing.T, dir string) {
	t.Helper()
	_, uid, _ := kit.Lookup(t, kit.User)
	kit.Must(t, filepath.Walk(dir, func(name string, info os.FileInfo, err error) error {
		if err == nil && info.Sys().(*syscall.Stat_t).Uid != uid {
			t.Errorf("%s is user %d's", name, info.Sys().(*syscall.Stat_t).Uid)
		}
		return err
	}))
	if r := kit.Do(t, kit.As(t, kit.User, "find", dir, "-mindepth", "1", "-delete")); r.Code != 0 {
		t.Errorf("the next checkout: %+v", r)
	}
}

// A call is a program that a runner has started.
type call struct {
	*exec.Cmd
	out, errs bytes.Buffer
}

// start starts a program as the user, in a process group of its own, as runners do.
func start(t *testing.T, env []string, input, dir string, args ...string) *call {
	t.Helper()
	c := &call{Cmd: kit.As(t, kit.User, args...)}
	c.Env, c.Dir, c.Stdin = append(c.Env, env...), dir, strings.NewReader(input)
	c.Stdout, c.Stderr = &c.out, &c.errs
	c.SysProcAttr.Setpgid = true
	c.WaitDelay = kit.Within(20 * time.Second)
	kit.Must(t, c.Start())
	return c
}

// end waits for it, and returns its exit status.
func (c *call) end(t *testing.T) int {
	t.Helper()
	limit := time.AfterFunc(kit.Within(time.Minute), func() { _ = c.Process.Kill() })
	err := c.Wait()
	if !limit.Stop() || errors.Is(err, exec.ErrWaitDelay) {
		t.Errorf("%q did not end: %s", c.Args, c.errs.String())
	}
	return kit.Code(c.ProcessState)
}

// signal sends a signal to its process group.
func (c *call) signal(s syscall.Signal) { _ = syscall.Kill(-c.Process.Pid, s) }

// cancel ends it in one of the ways in which runners do: with all that it has started, or
// alone.
func (c *call) cancel(way int) {
	switch way % 3 {
	case 0:
		c.signal(syscall.SIGKILL)
	case 1:
		c.signal(syscall.SIGTERM)
	case 2:
		_ = c.Process.Kill()
	}
}

// wantCode fails the test unless a call has ended so.
func (c *call) wantCode(t *testing.T, want int) {
	t.Helper()
	if got := c.end(t); got != want {
		t.Errorf("%q: exit status %d, want %d:\n%s\n%s", c.Args, got, want, c.out.String(), c.errs.String())
	}
}

// nothingRuns fails the test if a container is there.
func nothingRuns(t *testing.T) {
	t.Helper()
	kit.NothingLeft(t)
	if files, _ := filepath.Glob("/home/" + kit.User + "/.local/state/mayfly/[gb][lhk]-*"); len(files) > 0 {
		t.Errorf("left: %v", files)
	}
}
