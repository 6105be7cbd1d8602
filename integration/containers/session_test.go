package containers

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"mayfly/integration/kit"
)

// session begins a session, which ends with the test.
func session(t *testing.T, user, name string) {
	t.Helper()
	if r := kit.Do(t, kit.As(t, user, kit.Runtime, "session", "begin", "--name", name, kit.Image)); r.Code != 0 || r.Out != name+"\n" {
		t.Fatalf("%+v", r)
	}
	t.Cleanup(func() { _ = kit.Do(t, kit.As(t, user, kit.Runtime, "session", "end", name)) })
}

// open makes a directory of a session that its owner can write to, as a package's
// installation would have.
func open(t *testing.T, name string) {
	t.Helper()
	_, uid, _ := kit.Lookup(t, kit.User)
	dirs, err := filepath.Glob(filepath.Join(kit.Store, ".sessions", "*."+name, "root"))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("%v, %v", dirs, err)
	}
	dir := filepath.Join(dirs[0], "srv/own")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, int(uid), -1); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsWrittenInASessionStays(t *testing.T) {
	session(t, kit.User, "stays")
	open(t, "stays")
	run := func(script string) kit.Result {
		return kit.Run(t, "run", "--session", "stays", "--", "sh", "-c", script)
	}
	if r := run("echo kept > /srv/own/file"); r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	if r := run("cat /srv/own/file; touch /usr/x 2>/dev/null || echo root alone"); r.Out != "kept\nroot alone\n" {
		t.Errorf("%+v", r)
	}
	if r := kit.Inside(t, "ls /srv"); strings.Contains(r.Out, "own") {
		t.Errorf("the image has it too: %+v", r)
	}
	if r := kit.Root(t, "gc"); strings.Contains(r.Out, "stays") || run("cat /srv/own/file").Out != "kept\n" {
		t.Errorf("gc: %+v", r)
	}
	var list []struct{ Name, Image, User string }
	r := kit.Run(t, "session", "list", "--json")
	if err := json.Unmarshal([]byte(r.Out), &list); err != nil || len(list) != 1 || list[0].Name != "stays" || list[0].User != kit.User || !strings.HasPrefix(list[0].Image, kit.Image) {
		t.Errorf("%+v, %v", r, err)
	}
	if r := kit.Run(t, "shell", "--session", "stays", "--", "cat", "/srv/own/file"); r.Out != "kept\n" {
		t.Errorf("shell: %+v", r)
	}
}

func TestWhatIsWrongWithASession(t *testing.T) {
	session(t, kit.User, "mine")
	for what, args := range map[string][]string{
		"of that name":     {"session", "begin", "--name", "mine", kit.Image},
		"not there":        {"run", "--session", "nothing", "--", "true"},
		"a path":           {"run", "--session", "../1001.mine", "--", "true"},
		"writable":         {"run", "--session", "mine", "--writable", "--", "true"},
		"no command":       {"run", "--session", "mine"},
		"an unknown image": {"session", "begin", "not-there"},
		"no image":         {"session", "begin"},
		"a name too bad":   {"session", "begin", "--name", "a/b", kit.Image},
		"another's end":    {"session", "end", kit.Other + "/mine"},
		"end of nothing":   {"session", "end", "nothing"},
		"all users'":       {"session", "list", "--all-users"},
	} {
		if r := kit.Run(t, args...); r.Code != 125 || r.Err == "" {
			t.Errorf("%s: %+v", what, r)
		}
	}
	for _, args := range [][]string{{"run", "--session", "mine", "--", "true"}, {"session", "end", "mine"}} {
		if r := kit.Do(t, kit.As(t, kit.Other, append([]string{kit.Runtime}, args...)...)); r.Code != 125 {
			t.Errorf("another user: %+v", r)
		}
	}
	if r := kit.Root(t, "session", "list", "--all-users", "--names"); r.Out != "mine\n" {
		t.Errorf("%+v", r)
	}
	if r := kit.Root(t, "session", "end", kit.User+"/mine"); r.Code != 0 {
		t.Errorf("root: %+v", r)
	}
}

func TestASessionInUseDoesNotEnd(t *testing.T) {
	session(t, kit.User, "busy")
	c := start(t, kit.User, "in-busy", "sleep 60") // beside it, in no session
	run := kit.As(t, kit.User, kit.Runtime, "run", "--session", "busy", "--name", "uses", "--", "sleep", "60")
	ends := make(chan kit.Result, 1)
	go func() { ends <- kit.Do(t, run) }()
	kit.Eventually(t, "the run in the session", func() bool { return kit.Run(t, "exec", "uses", "true").Code == 0 })
	if r := kit.Run(t, "session", "end", "busy"); r.Code != 125 || !strings.Contains(r.Err, "in use") {
		t.Errorf("%+v", r)
	}
	// The supervisor is killed: the lock went with it.
	_ = run.Process.Signal(syscall.SIGKILL)
	<-ends
	kit.Eventually(t, "the container has ended", func() bool { return kit.Run(t, "session", "end", "busy").Code == 0 })
	kit.Run(t, "kill", c.name)
	c.ended()
}

func TestOfTwoSessionsOfOneNameOneBegins(t *testing.T) {
	const many = 8
	var group sync.WaitGroup
	codes := make(chan int, many)
	for range many {
		group.Go(func() { codes <- kit.Run(t, "session", "begin", "--name", "once", kit.Image).Code })
	}
	group.Wait()
	close(codes)
	began := 0
	for code := range codes {
		if code == 0 {
			began++
		}
	}
	if r := kit.Run(t, "session", "end", "once"); began != 1 || r.Code != 0 {
		t.Errorf("%d began; %+v", began, r)
	}
	left, err := filepath.Glob(filepath.Join(kit.Store, ".mayfly/.session-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
