// Package containers tests what is done with running containers.
package containers

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"mayfly/integration/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// A running is a container that a test has started.
type running struct {
	t    *testing.T
	cmd  *exec.Cmd
	name string
	ends chan kit.Result
}

// start runs a script in a container of a user's, and waits until the container can be
// joined.
func start(t *testing.T, user, name, script string, flags ...string) *running {
	t.Helper()
	args := append([]string{kit.Runtime, "run", "--name", name}, flags...)
	r := &running{t: t, name: name, ends: make(chan kit.Result, 1), cmd: kit.As(t, user, append(args, kit.Image, "sh", "-c", script)...)}
	go func() { r.ends <- kit.Do(t, r.cmd) }()
	kit.Eventually(t, name+" runs", func() bool {
		return kit.Do(t, kit.As(t, user, kit.Runtime, "exec", name, "true")).Code == 0
	})
	t.Cleanup(func() { _ = kit.Do(t, kit.As(t, user, kit.Runtime, "kill", "--signal", "KILL", name)) })
	return r
}

// ended waits for the end.
func (r *running) ended() kit.Result {
	r.t.Helper()
	return <-r.ends
}

func TestPsTellsOfRunningContainers(t *testing.T) {
	a := start(t, kit.User, "a-one", "while :; do :; done")
	start(t, kit.Other, "b-two", "sleep 60")
	time.Sleep(200 * time.Millisecond)
	var list []struct {
		Name, Image, User string
		UID               uint32
		Command           []string
		CPUNanoseconds    int64
		MemoryBytes       int64
		Tasks             int
	}
	out := kit.Run(t, "ps", "--json")
	if err := json.Unmarshal([]byte(out.Out), &list); err != nil || len(list) != 1 {
		t.Fatalf("%+v: %v", out, err)
	}
	c := list[0]
	if c.Name != "a-one" || !strings.HasPrefix(c.Image, kit.Image) || c.User != kit.User || c.Tasks != 1 || c.CPUNanoseconds < 50e6 || c.MemoryBytes < 1e5 || c.Command[0] != "sh" {
		t.Errorf("%+v", c)
	}
	if r := kit.Root(t, "ps", "--all-users"); !strings.Contains(r.Out, "a-one") || !strings.Contains(r.Out, "b-two") || !strings.Contains(r.Out, kit.Other) {
		t.Errorf("root sees %+v", r)
	}
	if r := kit.Run(t, "ps", "--all-users"); r.Code != 125 {
		t.Errorf("a user sees all: %+v", r)
	}
	if r := kit.Run(t, "inspect", "a-one"); !strings.Contains(r.Out, `"container": "a-one"`) || r.Code != 0 {
		t.Errorf("inspect: %+v", r)
	}
	if r := kit.Run(t, "kill", "a-one"); r.Code != 0 {
		t.Errorf("kill: %+v", r)
	}
	if r := a.ended(); r.Code != 143 {
		t.Errorf("after kill: %+v", r)
	}
	if r := kit.Run(t, "ps", "--names"); r.Out != "" {
		t.Errorf("after its end: %+v", r)
	}
}

// What confines a process, as it can tell itself.
const confinement = `cd /proc/self; grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp)' status; uname -m; id; cat personality cgroup 2>/dev/null
for n in mnt pid uts ipc cgroup net; do readlink ns/$n; done; umask; ulimit -a; env | grep -v -e ^_ -e ^PWD= -e ^OLDPWD= -e ^SHLVL= | sort; cat /proc/self/limits`

func TestACommandThatJoinsIsConfinedLikeTheFirst(t *testing.T) {
	for name, flags := range map[string][]string{"plain": nil, "other": {"--env", "A=B", "--personality", "x86", "--writable"}} {
		c := kit.As(t, kit.User, append(append([]string{kit.Runtime, "run", "--name", name}, flags...), kit.Image, "sh", "-c", confinement+"; echo :; read line; exit 7")...)
		in, err := c.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		ends := make(chan kit.Result, 1)
		go func() { ends <- kit.Do(t, c) }()
		var joined kit.Result
		kit.Eventually(t, "the container can be joined", func() bool {
			joined = kit.Run(t, "exec", name, "sh", "-c", confinement+"; echo :")
			return joined.Code == 0
		})
		in.Close()
		first := <-ends
		if first.Code != 7 || first.Out != joined.Out {
			t.Errorf("%s: the first command has\n%s\none that joins\n%s%s", name, first.Out, joined.Out, joined.Err)
		}
		if !strings.Contains(joined.Out, "NoNewPrivs:\t1") || !strings.Contains(joined.Out, "Seccomp:\t2") {
			t.Errorf("%s: %s", name, joined.Out)
		}
	}
	kit.NothingLeft(t)
}

func TestExec(t *testing.T) {
	start(t, kit.User, "joined", "echo secret > /tmp/there; sleep 60", "--chdir", "/usr")
	exec := func(args ...string) kit.Result { return kit.Run(t, append([]string{"exec"}, args...)...) }
	for what, c := range map[string]struct {
		got  kit.Result
		out  string
		code int
	}{
		"sees the container's files": {exec("joined", "cat", "/tmp/there"), "secret\n", 0},
		"is where the first is":      {exec("joined", "pwd"), "/usr\n", 0},
		"elsewhere":                  {exec("--chdir", "/var/tmp", "joined", "pwd"), "/var/tmp\n", 0},
		"nowhere":                    {exec("--chdir", "/not/there", "joined", "pwd"), "", 125},
		"with an environment":        {exec("--env", "A=x y", "joined", "sh", "-c", "echo $A"), "x y\n", 0},
		"its exit status":            {exec("joined", "sh", "-c", "exit 42"), "", 42},
		"its signal":                 {exec("joined", "sh", "-c", "kill -KILL $$"), "", 137},
		"not found":                  {exec("joined", "nothing-here"), "", 127},
		"a directory":                {exec("joined", "/usr"), "", 126},
		"PID 1 is out of reach":      {exec("joined", "sh", "-c", "kill -9 1 2>/dev/null || echo no"), "no\n", 0},
		"no such container":          {exec("not-there", "true"), "", 125},
		"no command":                 {exec("joined"), "", 125},
		"no terminal":                {exec("--tty", "joined", "true"), "", 125},
		"another's":                  {kit.Do(t, kit.As(t, kit.Other, kit.Runtime, "exec", "joined", "true")), "", 125},
		"another's, by name":         {kit.Do(t, kit.As(t, kit.Other, kit.Runtime, "exec", kit.User+"/joined", "true")), "", 125},
		"by root":                    {kit.Root(t, "exec", "joined", "id", "-un"), kit.User + "\n", 0},
		"by root, by owner":          {kit.Root(t, "exec", kit.User+"/joined", "id", "-un"), kit.User + "\n", 0},
	} {
		if c.got.Out != c.out || c.got.Code != c.code || c.code == 125 && c.got.Err == "" {
			t.Errorf("%s: %+v, want %q and %d", what, c.got, c.out, c.code)
		}
	}
	// Standard input, 4 MiB of it, and what comes back.
	cmd := kit.As(t, kit.User, kit.Runtime, "exec", "joined", "sh", "-c", "wc -c; echo problem >&2")
	cmd.Stdin = strings.NewReader(strings.Repeat("x", 4<<20))
	if r := kit.Do(t, cmd); strings.TrimSpace(r.Out) != "4194304" || r.Err != "problem\n" {
		t.Errorf("%+v", r)
	}
	// A long command line.
	if r := exec("joined", "sh", "-c", "echo ${#1}", "sh", strings.Repeat("y", 100_000)); r.Out != "100000\n" {
		t.Errorf("a long argument: %.100v", r)
	}
}

func TestSignalsReachTheCommandThatJoined(t *testing.T) {
	start(t, kit.User, "signalled", "sleep 60")
	for signal, want := range map[syscall.Signal]int{syscall.SIGTERM: 143, syscall.SIGINT: 130, syscall.SIGUSR1: 138} {
		cmd := kit.As(t, kit.User, kit.Runtime, "exec", "signalled", "sleep", "61")
		ends := make(chan kit.Result, 1)
		go func() { ends <- kit.Do(t, cmd) }()
		kit.Eventually(t, "it has joined", func() bool { return inside(t, "signalled", "sleep 61") == 1 })
		_ = cmd.Process.Signal(signal)
		if r := <-ends; r.Code != want {
			t.Errorf("%v: %+v, want %d", signal, r, want)
		}
	}
	// Whoever joins and is killed leaves no command.
	cmd := kit.As(t, kit.User, kit.Runtime, "exec", "signalled", "sleep", "61")
	go func() { _ = kit.Do(t, cmd) }()
	kit.Eventually(t, "it has joined", func() bool { return inside(t, "signalled", "sleep 61") == 1 })
	_ = cmd.Process.Kill()
	kit.Eventually(t, "its command has ended", func() bool { return inside(t, "signalled", "sleep 61") == 0 })
}

// inside counts processes of a command line in a container.
func inside(t *testing.T, name, command string) int {
	t.Helper()
	r := kit.Run(t, "exec", name, "sh", "-c", `cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' '`)
	return strings.Count(r.Out, command)
}

func TestTheEndOfAContainerEndsAllWhoJoined(t *testing.T) {
	r := start(t, kit.User, "ending", fmt.Sprintf("read line < /tmp/never || sleep %v; exit 3", kit.Within(time.Second).Seconds()))
	joined, waited := make(chan kit.Result, 1), make(chan kit.Result, 1)
	go func() { joined <- kit.Run(t, "exec", "ending", "sleep", "60") }()
	go func() { waited <- kit.Run(t, "wait", "ending") }()
	if got := r.ended(); got.Code != 3 {
		t.Errorf("%+v", got)
	}
	if got := <-joined; got.Code != 137 {
		t.Errorf("who joined: %+v", got)
	}
	if got := <-waited; got.Code != 3 {
		t.Errorf("who waited: %+v", got)
	}
	kit.NothingLeft(t)
}

func TestWhoWaitsIsToldOfLimits(t *testing.T) {
	soon := kit.Within(time.Second)
	for _, c := range []struct {
		name, script string
		flags        []string
	}{
		{"slow", "sleep 600", []string{"--timeout", soon.String()}},
		{"loud", fmt.Sprintf("sleep %v; exec yes", soon.Seconds()), []string{"--output-limit", "1K"}},
	} {
		r := start(t, kit.User, c.name, c.script, c.flags...)
		waited := kit.Run(t, "wait", c.name)
		if ran := r.ended(); ran.Code != 124 || !strings.Contains(ran.Err, "its limit of ") || waited.Code != 124 {
			t.Errorf("%s: %d %q; who waited: %+v", c.name, ran.Code, ran.Err, waited)
		}
	}
	kit.NothingLeft(t)
}

func TestKill(t *testing.T) {
	stubborn := start(t, kit.User, "stubborn", "trap '' TERM; while :; do sleep 0.1; done")
	start(t, kit.Other, "others", "sleep 60")
	for _, bad := range [][]string{{"kill"}, {"kill", "--signal", "NONE", "stubborn"}, {"kill", "--signal", "99", "stubborn"}, {"kill", "not-there"}, {"kill", "others"}, {"kill", "--all", "stubborn"}} {
		if r := kit.Run(t, bad...); r.Code != 125 || r.Err == "" {
			t.Errorf("%v: %+v", bad, r)
		}
	}
	if r := kit.Run(t, "kill", "stubborn"); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	second := start(t, kit.User, "second", "sleep 60")
	if r := kit.Run(t, "kill", "--signal", "SIGKILL", "--all"); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	for _, r := range []kit.Result{stubborn.ended(), second.ended()} {
		if r.Code != 137 {
			t.Errorf("%+v", r)
		}
	}
	if r := kit.Root(t, "ps", "--all-users", "--names"); r.Out != "others\n" {
		t.Errorf("another's: %+v", r)
	}
}

// A supervisor that its owner has stopped answers nobody; SIGKILL ends it all the same.
func TestAStoppedSupervisorIsKilled(t *testing.T) {
	r := start(t, kit.User, "stopped", "sleep 60")
	_ = r.cmd.Process.Signal(syscall.SIGSTOP)
	if got := kit.Run(t, "kill", "--signal", "KILL", "stopped"); got.Code != 0 {
		t.Errorf("%+v", got)
	}
	if got := r.ended(); got.Code != 137 {
		t.Errorf("%+v", got)
	}
	kit.Eventually(t, "its processes have ended", func() bool { return len(kit.Inits(t)) == 0 })
	kit.Root(t, "gc")
	kit.NothingLeft(t)
}

func TestATerminalForACommandThatJoins(t *testing.T) {
	start(t, kit.User, "tty", "sleep 60")
	m := kit.OnTerminal(t, kit.User, kit.As(t, kit.User, kit.Runtime, "exec", "tty", "bash", "--norc"))
	before := m.Before
	m.Await("$ ")
	m.Type("tty; stty size; test -t 2 && echo yes\n")
	m.Await("/dev/pts/")
	m.Await("33 111")
	m.Await("yes")
	m.Type("sleep 60\n")
	time.Sleep(100 * time.Millisecond)
	m.Type("\x03")
	m.Type("echo status $?\n")
	m.Await("status 130")
	m.Type("exit 9\n")
	if code := m.Wait(); code != 9 {
		t.Errorf("exit %d", code)
	}
	if after := m.Modes(); after != before {
		t.Errorf("terminal modes before %+v, after %+v", before, after)
	}
}
