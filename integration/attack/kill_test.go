package attack

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"mayfly/integration/kit"
)

// crowd connects with a supervisor's socket until nobody else can, and returns how to
// hang up.
func crowd(t *testing.T, socket string) (hangUp func()) {
	t.Helper()
	var line []int
	for range 10000 {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		kit.Must(t, err)
		line = append(line, fd)
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err == unix.EAGAIN {
			return func() {
				for _, fd := range line {
					unix.Close(fd)
				}
			}
		} else if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("the backlog is never full")
	return nil
}

// recorded is the record of the test user's container, and its supervisor.
func recorded(t *testing.T, name string) (record string, supervisor int) {
	t.Helper()
	_, uid, _ := kit.Lookup(t, kit.User)
	record = filepath.Join("/run/mayfly", strconv.Itoa(int(uid)), name)
	kit.Eventually(t, "there is a record", func() bool {
		var r struct{ PID int }
		text, err := os.Readlink(filepath.Join(filepath.Dir(record), "="+name))
		supervisor = 0
		if err == nil && json.Unmarshal([]byte(text), &r) == nil {
			supervisor = r.PID
		}
		return supervisor != 0
	})
	return record, supervisor
}

// A container is ended by its owner and by root, whatever has become of its supervisor.
func TestC39KillWithoutAnAnswer(t *testing.T) {
	eachWaiting(t, func(t *testing.T, w way) {
		owner := func(name string) kit.Result { return w.run(t, "kill", "--signal", "KILL", name) }
		root := func(name string) kit.Result { return kit.Root(t, "kill", "--signal", "KILL", kit.User+"/"+name) }
		for who, kill := range map[string]func(string) kit.Result{"owner": owner, "root": root} {
			t.Run("a full backlog, "+who, func(t *testing.T) {
				cmd := w.cmd(t, "run", "--name", "stopped", kit.Image, "sleep", "600")
				kit.Must(t, cmd.Start())
				kit.Eventually(t, "the container can be joined", func() bool { return w.run(t, "exec", "stopped", "true").Code == 0 })
				record, supervisor := recorded(t, "stopped")
				kit.Must(t, syscall.Kill(supervisor, syscall.SIGSTOP))
				hangUp := crowd(t, filepath.Join(filepath.Dir(record), ".stopped"))
				r := kill("stopped")
				hangUp()
				ended(t, r, supervisor)
				_ = cmd.Process.Signal(syscall.SIGCONT) // sudo stops when what it has started does
				_ = cmd.Wait()
			})
			t.Run("before it listens, "+who, func(t *testing.T) {
				s := silent(t, true)
				cmd := s.run(w)
				record, supervisor := recorded(t, "hangs")
				if _, err := os.Stat(filepath.Join(filepath.Dir(record), ".hangs")); err == nil {
					t.Fatal("it listens")
				}
				kit.Must(t, syscall.Kill(supervisor, syscall.SIGSTOP))
				ended(t, kill("hangs"), supervisor)
				_ = cmd.Process.Signal(syscall.SIGCONT)
				_ = cmd.Wait()
			})
		}
		// Nobody else may.
		cmd := w.cmd(t, "run", "--name", "mine", kit.Image, "sleep", "600")
		kit.Must(t, cmd.Start())
		_, supervisor := recorded(t, "mine")
		for _, name := range []string{"mine", kit.User + "/mine"} {
			refused(t, "another user's", kit.Do(t, w.as(t, kit.Other, w.args("kill", "--signal", "KILL", name)...)), "")
		}
		kit.Must(t, syscall.Kill(supervisor, 0))
		kit.Must(t, syscall.Kill(supervisor, syscall.SIGTERM))
		_ = cmd.Wait()
	})
}

// ended checks that a supervisor was killed, what was said of it, and that all that is
// left can be removed.
func ended(t *testing.T, r kit.Result, supervisor int) {
	t.Helper()
	if r.Code != 0 || strings.Count(r.Err, "\n") != 1 || !strings.Contains(r.Err, "supervisor (process "+strconv.Itoa(supervisor)+") does not answer, and was killed") {
		t.Errorf("%+v", r)
		_ = syscall.Kill(supervisor, syscall.SIGKILL)
	}
	kit.Eventually(t, "gc leaves nothing", func() bool {
		r := kit.Root(t, "gc")
		left, _ := filepath.Glob("/run/mayfly/*/*")
		return r.Code == 0 && len(left) == 0 && len(kit.Snapshots(t, kit.Store)) == 0 && len(kit.Inits(t)) == 0
	})
}
