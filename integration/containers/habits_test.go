package containers

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mayfly/integration/kit"
)

// What hands that are used to podman and docker type does what they mean.
func TestHabits(t *testing.T) {
	dir, err := os.MkdirTemp("/home/"+kit.User, "habits")
	kit.Must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	kit.Must(t, os.Chmod(dir, 0o777))
	kit.Must(t, os.WriteFile(filepath.Join(dir, "vars"), []byte("# variables\nA=1\nB=two words\n"), 0o644))
	kit.Must(t, os.WriteFile(filepath.Join(dir, "file"), []byte("content\n"), 0o666))

	r := kit.Run(t, "run", "--rm", "-i", "--env-file", dir+"/vars", "-e", "A=2", "-v", dir+":/src:ro", "-v", dir+":/out", "-w", "/src", kit.Image,
		"sh", "-c", `echo "$A $B $(pwd) $(cat file)"; touch /src/no 2>/dev/null || echo read-only; echo new > /out/made`)
	if r.Code != 0 || r.Out != "2 two words /src content\nread-only\n" {
		t.Errorf("%+v", r)
	}
	if made, err := os.ReadFile(dir + "/made"); err != nil || string(made) != "new\n" {
		t.Errorf("%q, %v", made, err)
	}
	substituted := kit.As(t, kit.User, "bash", "-c", `runtime run --env-file <(echo A=5) --status >(cat >&2) "$0" sh -c 'echo $A'; sleep 0.2`, kit.Image)
	if r := kit.Do(t, substituted); r.Code != 0 || r.Out != "5\n" || !strings.Contains(r.Err, `"reason":"command"`) {
		t.Errorf("%+v", r)
	}
	cmd := kit.As(t, kit.User, kit.Runtime, "run", "-it", "--rm", kit.Image, "sh", "-c", "tty; exit 3")
	m := kit.OnTerminal(t, kit.User, cmd)
	m.Await("/dev/pts/0")
	if code := m.Wait(); code != 3 {
		t.Errorf("exit status %d", code)
	}
	for _, c := range []struct{ args, says string }{
		{"rum " + kit.Image + " true", "did you mean `runtime run`?"},
		{"run --tiemout 1s " + kit.Image + " true", "did you mean --timeout?"},
		{"run --mount type=bind " + kit.Image + " true", "--bind SRC:DST"},
		{"run " + kit.Image + " --writable true", "--writable follows the image " + kit.Image + ": flags come before it"},
		{"run -writable " + kit.Image + " true", "want two dashes: --writable"},
		{"run " + swapped(kit.Image) + " true", "did you mean " + kit.Image + "?"},
		{"rm " + kit.Image, "`runtime image remove`"},
		{"run --rm=false " + kit.Image + " true", "it is always so"},
		{"run -v data:/x " + kit.Image + " true", "there are no volumes here"},
		{"run --env-file /not/there " + kit.Image + " true", "--env-file: open /not/there"},
	} {
		r := kit.Run(t, strings.Fields(c.args)...)
		if r.Code != 125 || !strings.Contains(r.Err, c.says) || strings.Count(r.Err, "\n") != 1 || r.Out != "" {
			t.Errorf("%s: %+v, want %q", c.args, r, c.says)
		}
	}
	for _, pair := range [][2]string{{"images", "image list"}, {"image ls", "image list"}, {"ls", "ps"}, {"session ls", "session list"},
		{"--version", "version"}, {"help run", "run --help"}, {"help image list", "image list --help"}, {"image help list", "image list --help"}, {"-h", "--help"}} {
		a, b := kit.Run(t, strings.Fields(pair[0])...), kit.Run(t, strings.Fields(pair[1])...)
		if a != b || a.Code != 0 {
			t.Errorf("%s: %+v; %s: %+v", pair[0], a, pair[1], b)
		}
	}
	kit.NothingLeft(t)
}

// swapped exchanges the last two letters of a name.
func swapped(name string) string {
	n := len(name)
	return name[:n-2] + name[n-1:] + name[n-2:n-1]
}

// Commands that end or await something take several names, and say what they did.
func TestSeveralNames(t *testing.T) {
	for name, code := range map[string]int{"one": 0, "two": 7} {
		start(t, kit.User, name, fmt.Sprintf(`trap "exit %d" TERM; while :; do sleep 0.05; done`, code))
	}
	waited := make(chan kit.Result, 1)
	go func() { waited <- kit.Run(t, "wait", "one", "two") }()
	time.Sleep(kit.Within(500 * time.Millisecond))
	kit.Run(t, "kill", "two") // while the first is waited for
	time.Sleep(kit.Within(200 * time.Millisecond))
	kit.Run(t, "kill", "one")
	if r := <-waited; r.Code != 7 || r.Out != "container one exited successfully\ncontainer two failed with error code 7\n" {
		t.Errorf("wait: %+v", r)
	}
	for _, signal := range []string{"TERM", "KILL"} {
		start(t, kit.User, "one", "exec sleep 60")
		start(t, kit.User, "two", "exec sleep 60")
		want := map[string]string{"TERM": "sent SIGTERM to one\nsent SIGTERM to two\n", "KILL": "killed one, two\n"}[signal]
		if r := kit.Run(t, "kill", "--signal", signal, "one", "two"); r.Code != 0 || r.Out != want {
			t.Errorf("kill: %+v", r)
		}
		kit.Eventually(t, "both have ended", func() bool { return kit.Run(t, "ps", "--names").Out == "" })
	}
	if r := kit.Run(t, "wait", "one", "nosuch"); r.Code != 125 || !strings.Contains(r.Err, "nosuch") {
		t.Errorf("wait: %+v", r)
	}
	for _, name := range []string{"first", "second"} {
		if r := kit.Run(t, "session", "begin", "--name", name, kit.Image); r.Code != 0 {
			t.Fatalf("%+v", r)
		}
	}
	if r := kit.Run(t, "session", "end", "first", "nosuch", "second"); r.Code != 125 || r.Out != "session first is removed\nsession second is removed\n" || !strings.Contains(r.Err, "nosuch") {
		t.Errorf("session end: %+v", r)
	}
}

// A long build is left alone, and a database runs beside one.
func TestADetachedRun(t *testing.T) {
	state := "/home/" + kit.User + "/.local/state/mayfly"
	t.Cleanup(func() { _ = os.RemoveAll("/home/" + kit.User + "/.local/state") })
	in := func(args ...string) kit.Result {
		cmd := kit.As(t, kit.User, append([]string{kit.Runtime}, args...)...)
		cmd.Dir = "/"
		cmd.Env = append(cmd.Env, "HOME=/home/"+kit.User)
		return kit.Do(t, cmd)
	}
	if r := in("run", "-d", "--name", "left", kit.Image, "sh", "-c", "echo begun; read x; echo \"got '$x'\"; sleep 0.5; echo ended; exit 6"); r.Code != 0 || r.Out != "left\n" || r.Err != "" {
		t.Fatalf("%+v", r)
	}
	// It runs when the command returns, and others can use it.
	if r := in("exec", "left", "cat", "/proc/self/status"); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	if r := in("run", "--detach", "--name", "left", kit.Image, "true"); r.Code != 125 || !strings.Contains(r.Err, "runs already") {
		t.Errorf("%+v", r)
	}
	if r := in("attach", "left"); r.Code != 6 || r.Out != "begun\ngot ''\nended\n" {
		t.Errorf("attach: %+v", r)
	}
	if r := in("logs", "left"); r.Code != 0 || r.Out != "begun\ngot ''\nended\n" {
		t.Errorf("logs: %+v", r)
	}
	if r := in("wait", "left"); r.Code != 6 {
		t.Errorf("wait after the end: %+v", r)
	}
	start(t, kit.User, "left", fmt.Sprintf("sleep %v; exit 3", kit.Within(2*time.Second).Seconds())) // another one of that name
	if r := in("wait", "left"); r.Code != 3 {
		t.Errorf("wait for a later one: %+v", r)
	}
	// One whose supervisor was killed has ended, too.
	if r := in("run", "-dq", "--name", "dead", kit.Image, "sleep", "600"); r.Code != 125 { // no -q here
		t.Errorf("%+v", r)
	}
	if r := in("run", "-d", "--quiet", "--name", "dead", kit.Image, "sleep", "600"); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	kit.Command(t, "pkill", "-KILL", "-f", "^runtime run --detached=.* --name=dead")
	if r := in("attach", "dead"); r.Code != 125 || !strings.Contains(r.Err, "run dead: was killed") {
		t.Errorf("attach: %+v", r)
	}
	kit.Root(t, "gc")
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"run", "-d", kit.Image, "/not/there"}, 127, "/not/there"},
		{[]string{"run", "-d", "nosuch", "true"}, 125, "unknown image nosuch"},
		{[]string{"run", "-dt", kit.Image, "true"}, 125, "--detach and --tty exclude each other"},
		{[]string{"shell", "-d", kit.Image}, 125, "runtime exec -it NAME bash"},
		{[]string{"run", "-d", "--name", "a/b", kit.Image, "true"}, 125, "container name"},
		{[]string{"logs", "nosuch"}, 125, "no run nosuch"},
		{[]string{"attach", "../x"}, 125, "container name"},
	} {
		if r := in(c.args...); r.Code != c.code || r.Out != "" || !strings.Contains(r.Err, c.says) || strings.Count(r.Err, "\n") != 1 {
			t.Errorf("%q: %+v", c.args, r)
		}
	}
	if r := in("run", "-d", kit.Image, "true"); r.Code != 0 || !strings.HasPrefix(r.Out, kit.Image) { // it may have ended before
		t.Errorf("%+v", r)
	}
	if info, err := os.Stat(state); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	kit.Eventually(t, "the last one has ended", func() bool { return kit.Run(t, "ps", "--names").Out == "" && len(kit.Snapshots(t, kit.Store)) == 0 })
	kit.NothingLeft(t)
}

// A list that is refreshed ends by a key, and fits the terminal.
func TestAListOnATerminal(t *testing.T) {
	start(t, kit.User, "a-container-with-a-rather-long-name-of-its-own", "exec sleep 60 # "+strings.Repeat("x", 60))
	for _, key := range []string{"q", "\x03"} {
		m := kit.OnTerminal(t, kit.User, kit.As(t, kit.User, kit.Runtime, "ps", "--watch"))
		before := m.Before
		m.Await("sleep 60")
		m.Type("z" + key)
		if code := m.Wait(); code != 0 {
			t.Errorf("%q: exit status %d", key, code)
		}
		if after := m.Modes(); after != before {
			t.Errorf("%q: terminal modes before %+v, after %+v", key, before, after)
		}
		if strings.Contains(m.Shows(), "z") {
			t.Errorf("what is typed shows: %q", m.Shows())
		}
		for line := range strings.Lines(m.Shows()) {
			if line = strings.TrimRight(line[strings.LastIndex(line, "\x1b[2J")+1:], "\r\n"); len(strings.TrimPrefix(line, "[2J")) > 111 { // see kit.OnTerminal
				t.Errorf("%d columns: %q", len(line), line)
			}
		}
	}
	if r := kit.Run(t, "image", "inspect", kit.Image); r.Code != 0 || !strings.Contains(r.Out, "(--packages lists them)") || strings.Contains(r.Out, "    libc6 ") {
		t.Errorf("%+v", r)
	}
	if r := kit.Run(t, "image", "inspect", "--packages", kit.Image); r.Code != 0 || !strings.Contains(r.Out, "    libc6 ") {
		t.Errorf("%+v", r)
	}
}
