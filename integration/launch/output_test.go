package launch

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mayfly/integration/kit"
)

// scratch is a directory of the ordinary user's.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/home/"+kit.User, "test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	_, uid, gid := kit.Lookup(t, kit.User)
	if err := os.Chown(dir, int(uid), int(gid)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestOutputLimit(t *testing.T) {
	if r := kit.Inside(t, "yes", "--output-limit", "64K"); r.Code != 124 || len(r.Out) != 64<<10 || !strings.Contains(r.Err, "more than its limit of 65536 bytes") {
		t.Errorf("exit %d, %d bytes, %q", r.Code, len(r.Out), r.Err)
	}
	if r := kit.Inside(t, "trap '' TERM; yes >&2", "--output-limit", "1K", "--kill-after", "100ms"); r.Code != 124 {
		t.Errorf("exit %d", r.Code)
	}
	if r := kit.Inside(t, "seq 1000; echo problem >&2; exit 3", "--output-limit", "1M"); r.Code != 3 || r.Out[len(r.Out)-5:] != "1000\n" || r.Err != "problem\n" {
		t.Errorf("%+v", r)
	}
	m := onTerminal(t, kit.Runtime, "run", "--quiet", "--output-limit", "10K", kit.Image, "yes")
	if code := m.Wait(); code != 124 || len(m.Shows()) > 11<<10 {
		t.Errorf("on a terminal: exit %d, %d bytes", code, len(m.Shows()))
	}
	for _, bad := range []string{"0", "-1", "x", "1.5M"} {
		if r := kit.Inside(t, "true", "--output-limit", bad); r.Code != 125 {
			t.Errorf("%s: %+v", bad, r)
		}
	}
	kit.NothingLeft(t)
}

// shown is what a recording shows.
func shown(t *testing.T, name string) string {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines, text, last := bufio.NewScanner(file), "", 0.0
	for n := 0; lines.Scan(); n++ {
		if n == 0 {
			var head struct{ Version, Width, Height int }
			if err := json.Unmarshal(lines.Bytes(), &head); err != nil || head.Version != 2 || head.Width < 1 || head.Height < 1 {
				t.Errorf("%s: %v", lines.Text(), err)
			}
			continue
		}
		var event []any
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil || event[0].(float64) < last {
			t.Errorf("%s: %v", lines.Text(), err)
			continue
		}
		last = event[0].(float64)
		if event[1] == "o" {
			text += event[2].(string)
		}
	}
	return text
}

func TestARecordingShowsWhatWasShown(t *testing.T) {
	log := filepath.Join(scratch(t), "log.cast")
	if r := kit.Inside(t, "echo out; sleep 0.1; echo ä >&2; exit 2", "--log", log); r.Code != 2 || r.Out != "out\n" || shown(t, log) != "out\nä\n" {
		t.Errorf("%+v, %q", r, shown(t, log))
	}
	m := onTerminal(t, kit.Runtime, "shell", "--quiet", "--log", log, kit.Image)
	m.Await("$ ")
	m.Type("echo recorded\nexit\n")
	if code := m.Wait(); code != 0 || !strings.Contains(m.Shows(), shown(t, log)) || !strings.Contains(shown(t, log), "\nrecorded\r\n") {
		t.Errorf("exit %d; shown\n%q\nrecorded\n%q", code, m.Shows(), shown(t, log))
	}
	if r := kit.Inside(t, "true", "--log", "/root/not-mine"); r.Code != 125 || !strings.Contains(r.Err, "permission denied") {
		t.Errorf("where the caller may not write: %+v", r)
	}
}

func TestStatsTellWhatWasUsed(t *testing.T) {
	name := filepath.Join(scratch(t), "stats")
	r := kit.Inside(t, "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; exit 4", "--stats", name)
	var used struct {
		WallSeconds, UserSeconds float64
		MemoryPeakBytes          int64
		Exit                     int
		Of                       string
	}
	data, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(data, &used)
	}
	if err != nil || r.Code != 4 || used.Exit != 4 || used.WallSeconds < 0.01 || used.UserSeconds < 0.01 || used.Of == "" {
		t.Errorf("%+v, %+v, %v: %s", r, used, err, data)
	}
	if r := kit.Inside(t, "kill -9 $$", "--stats", "-"); r.Code != 137 || !strings.Contains(r.Err, `"signal":"KILL"`) {
		t.Errorf("%+v", r)
	}
	for _, flag := range []string{"--stats", "--status"} { // before the build, not after it
		if r := kit.Inside(t, "echo it ran", flag, "/root/not-mine"); r.Code != 125 || r.Out != "" || !strings.Contains(r.Err, flag+": open /root/not-mine: permission denied") {
			t.Errorf("where the caller may not write: %+v", r)
		}
	}
}

// A report is what a CI system reads to know whose fault it was.
func TestTheReportOfWhateverHappened(t *testing.T) {
	name := filepath.Join(scratch(t), "status")
	const limited = "/etc/mayfly/policy.d/00-report.toml"
	kit.Must(t, os.MkdirAll(filepath.Dir(limited), 0o755))
	rules := "[[rule]]\nimages = [\"denied\"]\ndeny = true\n"
	kit.Must(t, os.WriteFile(limited, []byte(rules), 0o644))
	t.Cleanup(func() { _ = os.Remove(limited) })
	for _, c := range []struct {
		args, reason, says string
		exit               int
	}{
		{kit.Image + " true", "command", "", 0},
		{kit.Image + " false", "command", "", 1},
		{"--timeout 100ms " + kit.Image + " sleep 60", "timeout", "", 124},
		{"--output-limit 1K " + kit.Image + " yes", "output-limit", "", 124},
		{kit.Image + " /not/there", "not-found", "/not/there", 127},
		{kit.Image + " /etc", "not-executable", "/etc", 126},
		{"denied true", "refused", limited + ":1 denies it", 125},
		{"--store /x " + kit.Image + " true", "refused", "", 125},
		{"nosuch true", "image-unknown", "unknown image nosuch", 125},
		{"--bind /not/there " + kit.Image + " true", "machine", "/not/there", 125},
		{"--memory x " + kit.Image + " true", "machine", "--memory", 125},
	} {
		r := kit.Run(t, append([]string{"run", "--chdir", "/", "--status", name}, strings.Fields(c.args)...)...)
		var told struct {
			Reason, Error, Image, Digest, Container string
			Version, Exit                           int
			Command                                 []string
			Began, Ended                            time.Time
			WallSeconds                             *float64
		}
		data, err := os.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(data, &told)
		}
		if err != nil || r.Code != c.exit || told.Exit != c.exit || told.Reason != c.reason || !strings.Contains(told.Error, c.says) || (told.Error == "") != (c.exit < 125) ||
			len(told.Command) == 0 || told.Image == "" || told.Ended.Before(told.Began) || told.WallSeconds != nil {
			t.Errorf("%s: %+v, %v: %s", c.args, r, err, data)
		}
		if c.exit < 2 && (told.Container == "" || told.Version > 0 && !strings.HasPrefix(told.Digest, "sha256:")) {
			t.Errorf("%s: %s", c.args, data)
		}
	}
}

// Whoever may run one container only can wait for it to end.
func TestALaunchWaitsForItsTurn(t *testing.T) {
	const limited = "/etc/mayfly/policy.d/00-slots.toml"
	kit.Must(t, os.MkdirAll(filepath.Dir(limited), 0o755))
	kit.Must(t, os.WriteFile(limited, []byte("[[rule]]\nimages = [\"*\"]\nlimits.containers = 1\n"), 0o644))
	t.Cleanup(func() { _ = os.Remove(limited) })
	first := kit.As(t, kit.User, kit.Runtime, "run", "--quiet", "--name", "first", "--chdir", "/", kit.Image, "sleep", "600")
	kit.Must(t, first.Start())
	t.Cleanup(func() {
		_ = first.Process.Kill()
		_ = first.Wait()
	})
	kit.Eventually(t, "the first runs", func() bool { return kit.Run(t, "exec", "first", "true").Code == 0 })
	second := func(wait string) kit.Result {
		return kit.Run(t, "run", wait, "--chdir", "/", "--status", "-", kit.Image, "echo", "second")
	}
	if r := kit.Run(t, "run", "--chdir", "/", "--status", "-", kit.Image, "true"); r.Code != 125 || !strings.Contains(r.Err, `"reason":"busy"`) {
		t.Errorf("without waiting: %+v", r)
	}
	if r := second("--wait=200ms"); r.Code != 125 || !strings.Contains(r.Err, `"reason":"busy"`) || !strings.Contains(r.Err, "of 1 containers: waiting for one to end") {
		t.Errorf("not long enough: %+v", r)
	}
	if r := kit.Run(t, "run", "--wait", "30s", kit.Image, "true"); r.Code != 125 || !strings.Contains(r.Err, "--wait=30s") {
		t.Errorf("without a sign: %+v", r)
	}
	waiting := kit.As(t, kit.User, kit.Runtime, "run", "--quiet", "--wait", "--chdir", "/", kit.Image, "true")
	kit.Must(t, waiting.Start())
	time.Sleep(kit.Within(300 * time.Millisecond))
	kit.Must(t, waiting.Process.Signal(syscall.SIGTERM))
	if _ = waiting.Wait(); waiting.ProcessState.ExitCode() != 143 {
		t.Errorf("interrupted: %v", waiting.ProcessState)
	}
	done := make(chan kit.Result, 1)
	go func() { done <- second("--wait") }()
	time.Sleep(kit.Within(300 * time.Millisecond))
	kit.Run(t, "kill", "first")
	if r := <-done; r.Code != 0 || r.Out != "second\n" || !strings.Contains(r.Err, `"reason":"command"`) {
		t.Errorf("%+v", r)
	}
	kit.NothingLeft(t)
}

func TestDoctor(t *testing.T) {
	r := kit.Run(t, "doctor", "--json")
	var list []struct {
		What, Found, Advice string
		OK, Needed          bool
	}
	if err := json.Unmarshal([]byte(r.Out), &list); err != nil || len(list) < 8 || r.Code != 0 {
		t.Fatalf("%+v: %v", r, err)
	}
	for _, f := range list {
		if f.Needed && !f.OK || !f.OK && f.Advice == "" {
			t.Errorf("%+v", f)
		}
	}
	// Without a grant there is something to do.
	bare := filepath.Join(scratch(t), "runtime")
	kit.Command(t, "install", "-m", "0755", kit.Runtime, bare)
	if r := kit.Do(t, kit.As(t, kit.User, bare, "doctor")); r.Code != 125 || !strings.Contains(r.Out, "runtime grant") {
		t.Errorf("%+v", r)
	}
}

func TestCompletion(t *testing.T) {
	script := filepath.Join(scratch(t), "completion")
	data := kit.Succeed(t, "completion", "bash")
	if err := os.WriteFile(script, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
	complete := func(line string) string {
		const ask = `source "$0"; COMP_LINE=$1 COMP_POINT=${#1}; _runtime; echo "${COMPREPLY[*]}"`
		return strings.TrimSpace(kit.Do(t, kit.As(t, kit.User, "bash", "-c", ask, script, line)).Out)
	}
	short := kit.Sealed[:len(kit.Sealed)-2]
	for line, want := range map[string]string{
		"runtime ses":                                   "session",
		"runtime session b":                             "begin",
		"runtime run --pers":                            "--personality",
		"runtime run " + short:                          kit.Sealed,
		"runtime run --quiet --env A=1 " + short:        kit.Sealed,
		"runtime run -e A=1 -w /x " + short:             kit.Sealed,
		"runtime run " + kit.Sealed + "@":               "1",
		"runtime run --network ":                        "host none private",
		"runtime run --network=ho":                      "host",
		"runtime run --user roo":                        "root",
		"runtime run --personality x86-":                "x86-64",
		"runtime image re":                              "rename remove receive",
		"runtime image rm " + short:                     kit.Sealed,
		"runtime images --js":                           "--json",
		"nspawn-run -n " + short:                        kit.Sealed,
		"runtime run " + kit.Image + " ls " + short:     "",
		"runtime nosuch ":                               "",
		"runtime completion z":                          "zsh",
		"runtime kill --signal KI":                      "KILL",
		"runtime policy explain --user mayfly-test roo": "",
	} {
		if got := complete(line); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	for _, shell := range []string{"zsh", "fish"} {
		if err := os.WriteFile(script, []byte(kit.Succeed(t, "completion", shell)), 0o644); err != nil {
			t.Fatal(err)
		}
		kit.Command(t, shell, "-n", script) // only reads it
		if shell == "fish" {
			r := kit.Do(t, kit.As(t, kit.User, shell, "-c", "source "+script+"; complete -C 'runtime run --network n'; complete -C 'nspawn-run -n "+short+"'"))
			if want := "none\n" + kit.Sealed + "\n"; r.Out != want {
				t.Errorf("%s: %+v, want %q", shell, r, want)
			}
		}
	}
}
