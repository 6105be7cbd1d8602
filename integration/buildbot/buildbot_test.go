// Package buildbot runs builds in a real Buildbot: a master, and a worker that is an
// ordinary user.
package buildbot

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mayfly/integration/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// builds are the scripts of builders, by the builder's name.
var builds = map[string]string{
	"succeeds": "[ ! -e result ] || rm result; mkdir -p made; echo x >made/deep; id -u >result",
	"fails":    "exit 3",
	"leaves":   "setsid sleep 1000 & sleep 1000 & exit 0",
	"handles":  `trap "echo cleaned >cleaned; exit 1" TERM; setsid sleep 1000 & echo ready >ready; while :; do sleep 0.1; done`,
	"ignores":  `trap "" TERM; setsid sleep 1000 & echo ready >ready; while :; do sleep 1; done`,
}

// What a build's result is in Buildbot.
const (
	success   = 0
	failure   = 2
	cancelled = 6
)

// A farm is a master and its worker.
type farm struct {
	dir   string // of the master
	work  string // of the worker
	count int    // builds until now
}

func newFarm(t *testing.T) *farm {
	t.Helper()
	f := &farm{dir: kit.WorkDirectory(t, kit.Other), work: kit.WorkDirectory(t, kit.User)}
	config, err := os.ReadFile("master.cfg")
	kit.Must(t, errors.Join(err, os.WriteFile(f.dir+"/master.cfg", config, 0o644)))
	for name, text := range builds {
		kit.Must(t, os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o644))
	}
	master := []string{"MAYFLY_DIR=" + f.dir, "MAYFLY_SCRIPTS=" + strings.Join(slices.Sorted(maps.Keys(builds)), " "), "MAYFLY_IMAGE=" + kit.Image}
	f.do(t, kit.Other, master, "buildbot", "create-master", "-r", f.dir)
	f.daemon(t, kit.Other, master, "buildbot", "start", "--nodaemon", f.dir)
	f.await(t, "the master answers", func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:29989")
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	f.do(t, kit.User, nil, "buildbot-worker", "create-worker", f.work, "127.0.0.1:29989", "worker", "secret")
	f.daemon(t, kit.User, nil, "buildbot-worker", "start", "--nodaemon", f.work)
	return f
}

func (f *farm) do(t *testing.T, user string, env []string, args ...string) {
	t.Helper()
	cmd := kit.As(t, user, args...)
	cmd.Env = append(cmd.Env, env...)
	if r := kit.Do(t, cmd); r.Code != 0 {
		t.Fatalf("%q: %+v", args, r)
	}
}

// daemon starts a server, which ends with the test.
func (f *farm) daemon(t *testing.T, user string, env []string, args ...string) {
	t.Helper()
	cmd := kit.As(t, user, args...)
	cmd.Env = append(cmd.Env, env...)
	cmd.SysProcAttr.Setsid = true
	kit.Must(t, cmd.Start())
	t.Cleanup(func() {
		if log, err := os.ReadFile(filepath.Join(args[len(args)-1], "twistd.log")); t.Failed() && err == nil {
			t.Logf("%s", log[max(0, len(log)-3000):])
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
}

func (f *farm) await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(kit.Within(time.Minute)); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("not within a minute: %s", what)
}

// start has the builder of that name build.
func (f *farm) start(t *testing.T, name string) {
	t.Helper()
	f.count++
	f.do(t, kit.Other, nil, "buildbot", "sendchange", "--master=127.0.0.1:29989", "--auth=change:secret", "--who=test", "--branch="+name, "--vc=git", "file")
}

// result waits for the end of the last build, and tells Buildbot's result.
func (f *farm) result(t *testing.T) (result int) {
	t.Helper()
	f.await(t, "the build ends", func() bool {
		text, _ := os.ReadFile(f.dir + "/results")
		for line := range strings.Lines(string(text)) {
			var build int
			if _, err := fmt.Sscan(line, &build, &result); err == nil && build == f.count {
				return true
			}
		}
		return false
	})
	return result
}

// stop stops the last build.
func (f *farm) stop(t *testing.T) {
	t.Helper()
	kit.Must(t, errors.Join(os.WriteFile(f.dir+"/.stop", fmt.Append(nil, f.count), 0o666), os.Chmod(f.dir+"/.stop", 0o666), os.Rename(f.dir+"/.stop", f.dir+"/stop")))
}

// at is a file in a builder's directory.
func (f *farm) at(builder, name string) string { return filepath.Join(f.work, builder, "build", name) }

func (f *farm) there(builder, name string) bool {
	_, err := os.Stat(f.at(builder, name))
	return err == nil
}

func TestBuildsOfAWorker(t *testing.T) {
	f := newFarm(t)
	_, uid, _ := kit.Lookup(t, kit.User)
	for range 2 { // the second finds what the first has made, and can remove it
		f.start(t, "succeeds")
		if r := f.result(t); r != success {
			t.Errorf("result %d", r)
		}
		if text, err := os.ReadFile(f.at("succeeds", "result")); err != nil || string(text) != fmt.Sprintln(uid) {
			t.Errorf("%q, %v", text, err)
		}
		info, err := os.Stat(f.at("succeeds", "made/deep"))
		if err != nil || info.Sys().(*syscall.Stat_t).Uid != uid {
			t.Errorf("made by another: %v, %v", info, err)
		}
	}
	f.start(t, "fails")
	if r := f.result(t); r != failure {
		t.Errorf("result %d", r)
	}
	f.start(t, "leaves") // and the worker does not wait for what a build has left running
	if r := f.result(t); r != success {
		t.Errorf("result %d", r)
	}
	for name, cleaned := range map[string]bool{"handles": true, "ignores": false} {
		f.start(t, name)
		f.await(t, name+" is ready", func() bool { return f.there(name, "ready") })
		f.stop(t)
		if r := f.result(t); r != cancelled {
			t.Errorf("%s: result %d", name, r)
		}
		if f.there(name, "cleaned") != cleaned {
			t.Errorf("%s: cleaned up: %v", name, !cleaned)
		}
		kit.Eventually(t, "the container ends", func() bool { return len(kit.Inits(t)) == 0 })
		if r := kit.Run(t, "gc"); r.Code != 0 { // of what was killed by force
			t.Errorf("%+v", r)
		}
		kit.NothingLeft(t)
	}
}
