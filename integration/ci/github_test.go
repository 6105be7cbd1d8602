package ci

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mayfly/integration/kit"
)

// A githubRunner is a runner of GitHub's with a container hook. Its directory has what the
// runner binds into each job's container.
type githubRunner struct {
	dir, name string
	state     json.RawMessage
}

func newGitHubRunner(t *testing.T, name string) *githubRunner {
	t.Helper()
	r := &githubRunner{dir: kit.WorkDirectory(t, kit.User), name: name}
	for _, dir := range []string{"_work/repo/repo", "_work/_temp/_github_home", "_work/_temp/_github_workflow", "_work/_actions", "externals"} {
		kit.Must(t, os.MkdirAll(filepath.Join(r.dir, dir), 0o755))
	}
	kit.Must(t, os.WriteFile(r.dir+"/externals/tool", []byte("#!/bin/sh\necho external\n"), 0o755))
	kit.Command(t, "chown", "-R", kit.User+":", r.dir)
	return r
}

// hook starts the hook with what the runner writes to it.
func (r *githubRunner) hook(t *testing.T, command string, args any) *call {
	t.Helper()
	if r.state == nil {
		r.state = json.RawMessage("{}")
	}
	input, err := json.Marshal(map[string]any{"command": command, "responseFile": r.dir + "/response.json", "state": r.state, "args": args})
	kit.Must(t, err)
	return start(t, []string{"RUNNER_NAME=" + r.name}, string(input), r.dir, kit.Runtime, "ci", "github")
}

func (r *githubRunner) mounts() []map[string]any {
	mount := func(source, target string, readOnly bool) map[string]any {
		return map[string]any{"sourceVolumePath": source, "targetVolumePath": target, "readOnly": readOnly}
	}
	return []map[string]any{mount("/var/run/docker.sock", "/var/run/docker.sock", false), mount(r.dir+"/_work", "/__w", false), mount(r.dir+"/externals", "/__e", true),
		mount(r.dir+"/_work/_temp", "/__w/_temp", false), mount(r.dir+"/_work/_actions", "/__w/_actions", false),
		mount(r.dir+"/_work/_temp/_github_home", "/github/home", false), mount(r.dir+"/_work/_temp/_github_workflow", "/github/workflow", false)}
}

func (r *githubRunner) job(options string) map[string]any {
	return map[string]any{"container": map[string]any{"image": kit.Image, "workingDirectory": "/__w/repo/repo", "createOptions": options,
		"environmentVariables": map[string]string{"NODE_ENV": "test", "HOME": "/github/home", "XDG_STATE_HOME": "/nowhere", "GODEBUG": "x", "TWO": "a\nb"}, "systemMountVolumes": r.mounts()}}
}

func (r *githubRunner) prepare(t *testing.T, args any) {
	t.Helper()
	r.hook(t, "prepare_job", args).wantCode(t, 0)
	var response struct {
		State    json.RawMessage
		IsAlpine *bool
	}
	data, err := os.ReadFile(r.dir + "/response.json")
	kit.Must(t, err)
	kit.Must(t, json.Unmarshal(data, &response))
	if response.IsAlpine == nil || *response.IsAlpine {
		t.Errorf("the response: %s", data)
	}
	r.state = response.State
}

func step(script string) map[string]any {
	return map[string]any{"entryPoint": "bash", "entryPointArgs": []string{"-e", "-c", script}, "workingDirectory": "/__w/repo/repo", "prependPath": []string{"/__e"},
		"environmentVariables": map[string]string{"HOME": "/github/home", "GITHUB_WORKSPACE": "/__w/repo/repo", "SECRET": "s3cret", "TEXT": "two\nlines", "BIG": strings.Repeat("x", 50000)}}
}

func TestGitHubJob(t *testing.T) {
	defer nothingRuns(t)
	r := newGitHubRunner(t, "host one")
	r.prepare(t, r.job("-e FROM_OPTIONS=1"))
	if ps := kit.Run(t, "ps", "--json"); strings.Contains(ps.Out, "s3cret") || ps.Code != 0 {
		t.Errorf("%+v", ps)
	}
	first := r.hook(t, "run_script_step", step(`tool; pwd; echo "$NODE_ENV $FROM_OPTIONS $CI ${#BIG} $TEXT $TWO"; mkdir -p made; echo x >made/deep; echo y >~/of-home; echo state >/var/tmp/state; sleep 1000 &`))
	first.wantCode(t, 0)
	if got := first.out.String(); got != "external\n/__w/repo/repo\ntest 1 true 50000 two\nlines a\nb\n" {
		t.Errorf("%q, %s", got, first.errs.String())
	}
	second := r.hook(t, "run_script_step", step(`cat /var/tmp/state ~/of-home made/deep; if touch /__e/x 2>/dev/null; then echo writable; fi; exit 3`))
	second.wantCode(t, 3)
	if got := second.out.String(); got != "state\ny\nx\n" {
		t.Errorf("%q", got)
	}
	r.hook(t, "run_script_step", map[string]any{"entryPoint": "nosuch", "workingDirectory": "/"}).wantCode(t, 127)
	third := r.hook(t, "run_container_step", map[string]any{"image": kit.Image, "entryPoint": "sh", "entryPointArgs": []string{"-c", `cat made/deep; [ ! -e /var/tmp/state ]; exit 9`},
		"workingDirectory": "/__w/repo/repo", "systemMountVolumes": r.mounts()})
	third.wantCode(t, 9)
	if got := third.out.String(); got != "x\n" {
		t.Errorf("%q, %s", got, third.errs.String())
	}
	r.hook(t, "cleanup_job", map[string]any{}).wantCode(t, 0)
	all(t, r.dir)
}

func TestGitHubServices(t *testing.T) {
	defer nothingRuns(t)
	r := newGitHubRunner(t, "services")
	args := r.job("--network none")
	args["services"] = []map[string]any{{"contextName": "db", "image": kit.Image, "entryPoint": "perl", "entryPointArgs": []string{"-e",
		`use Socket; socket(S, PF_INET, SOCK_STREAM, 0); bind(S, sockaddr_in(5432, INADDR_ANY)) or die; listen(S, 5); while (accept(C, S)) { print C qq($ENV{GREETING}\n); close C; }`},
		"environmentVariables": map[string]string{"GREETING": "hello"}}}
	r.prepare(t, args)
	const ask = `for i in 1 2 3 4 5 6 7 8 9; do if (exec 3<>/dev/tcp/db/5432) 2>/dev/null; then cat </dev/tcp/db/5432; exit; fi; sleep 0.3; done; exit 1`
	s := r.hook(t, "run_script_step", step(ask))
	s.wantCode(t, 0)
	if s.out.String() != "hello\n" {
		t.Errorf("%q", s.out.String())
	}
	c := r.hook(t, "run_container_step", map[string]any{"image": kit.Image, "entryPoint": "bash", "entryPointArgs": []string{"-c", strings.ReplaceAll(ask, "/db/", "/localhost/")}, "workingDirectory": "/__w", "systemMountVolumes": r.mounts()})
	c.wantCode(t, 0)
	r.hook(t, "cleanup_job", map[string]any{}).wantCode(t, 0)
}

// Each hook is killed while it works; the runner then calls cleanup_job.
func TestGitHubCancels(t *testing.T) {
	defer nothingRuns(t)
	wait := `touch ready; trap '' INT TERM; setsid sleep 1000 & while :; do sleep 1; done`
	container := map[string]any{"image": kit.Image, "entryPoint": "bash", "entryPointArgs": []string{"-c", wait}, "workingDirectory": "/__w/repo/repo"}
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		for name, args := range map[string]map[string]any{"run_script_step": step(wait), "run_container_step": container} {
			t.Run(name+" "+signal.String(), func(t *testing.T) {
				r := newGitHubRunner(t, "cancelled")
				r.prepare(t, r.job(""))
				args["systemMountVolumes"] = r.mounts()
				h := r.hook(t, name, args)
				kit.Eventually(t, "the step runs", func() bool {
					_, err := os.Stat(r.dir + "/_work/repo/repo/ready")
					return err == nil
				})
				h.signal(signal)
				time.Sleep(100 * time.Millisecond)
				h.signal(syscall.SIGKILL)
				if h.end(t) == 0 {
					t.Error("the step has succeeded")
				}
				r.hook(t, "cleanup_job", map[string]any{}).wantCode(t, 0)
				all(t, r.dir)
			})
		}
	}
}

func TestGitHubCancelsAPreparation(t *testing.T) {
	defer nothingRuns(t)
	r := newGitHubRunner(t, "killed")
	for i := range kit.Rounds(12, 300) {
		h := r.hook(t, "prepare_job", r.job(""))
		time.Sleep(time.Duration(i%25) * time.Millisecond)
		h.cancel(i)
		_ = h.end(t)
		r.hook(t, "cleanup_job", map[string]any{}).wantCode(t, 0)
		if ps := kit.Run(t, "ps", "--names"); ps.Out != "" {
			t.Fatalf("round %d: it runs: %s", i, ps.Out)
		}
	}
}

// What the runner asks for and cannot have is a failure with a message.
func TestGitHubAsksForWhatIsNotThere(t *testing.T) {
	defer nothingRuns(t)
	r := newGitHubRunner(t, "bad")
	for want, args := range map[string]map[string]any{
		"unknown image nosuch":      {"container": map[string]any{"image": "nosuch"}},
		"option --nosuch":           {"container": map[string]any{"image": kit.Image, "createOptions": "--nosuch"}},
		"a workflow has no volumes": {"container": map[string]any{"image": kit.Image, "userMountVolumes": []map[string]any{{"sourceVolumePath": "data", "targetVolumePath": "/data"}}}},
		"give the job a container":  {},
	} {
		h := r.hook(t, "prepare_job", args)
		h.wantCode(t, 125)
		if !strings.Contains(h.errs.String(), want) {
			t.Errorf("%s, want %q", h.errs.String(), want)
		}
		r.hook(t, "cleanup_job", nil).wantCode(t, 0)
	}
	h := r.hook(t, "run_script_step", step("true"))
	h.wantCode(t, 125)
	start(t, []string{"RUNNER_NAME=bad"}, "no JSON", r.dir, kit.Runtime, "ci", "github").wantCode(t, 125)
}

func TestTwoGitHubRunners(t *testing.T) {
	defer nothingRuns(t)
	a, b := newGitHubRunner(t, "a"), newGitHubRunner(t, "a-b") // whose name begins as the other's
	a.prepare(t, a.job(""))
	b.prepare(t, b.job(""))
	one, two := a.hook(t, "run_script_step", step("sleep 0.2; exit 4")), b.hook(t, "run_script_step", step("sleep 0.2"))
	one.wantCode(t, 4)
	two.wantCode(t, 0)
	a.hook(t, "cleanup_job", map[string]any{}).wantCode(t, 0)
	b.hook(t, "run_script_step", step("true")).wantCode(t, 0)
	b.hook(t, "cleanup_job", map[string]any{}).wantCode(t, 0)
}
