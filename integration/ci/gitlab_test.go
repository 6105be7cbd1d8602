package ci

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mayfly/integration/kit"
)

// Exit statuses that the runner chooses for each call.
const (
	buildFailure  = 41
	systemFailure = 42
)

// A gitlabJob is a job as GitLab Runner runs it with the custom executor.
type gitlabJob struct {
	dir, project string
	env          []string
}

func newGitLabJob(t *testing.T, id int, more ...string) *gitlabJob {
	t.Helper()
	dir := kit.WorkDirectory(t, kit.User)
	j := &gitlabJob{dir: dir}
	j.env = append([]string{
		fmt.Sprintf("BUILD_FAILURE_EXIT_CODE=%d", buildFailure), fmt.Sprintf("SYSTEM_FAILURE_EXIT_CODE=%d", systemFailure),
		"BUILD_EXIT_CODE_FILE=" + dir + "/code", "CUSTOM_ENV_CI_JOB_IMAGE=" + kit.Image, "CUSTOM_ENV_CI_JOB_TIMEOUT=3600",
		"JOB_RESPONSE_FILE=" + file(t, dir+"/response.json", fmt.Sprintf(`{"id":%d,"job_info":{"project_id":7}}`, id)),
	}, more...)
	config := j.start(t, "config", dir+"/builds")
	if config.end(t) != 0 {
		return j
	}
	var answer struct {
		Builds string            `json:"builds_dir"`
		JobEnv map[string]string `json:"job_env"`
	}
	kit.Must(t, json.Unmarshal(config.out.Bytes(), &answer))
	for name, value := range answer.JobEnv {
		j.env = append(j.env, name+"="+value)
	}
	j.project = answer.Builds + "/token/0/group/project"
	return j
}

func (j *gitlabJob) start(t *testing.T, args ...string) *call {
	t.Helper()
	return start(t, j.env, "", j.dir, append([]string{kit.Runtime, "ci", "gitlab"}, args...)...)
}

// stage starts a stage. Its script is in a directory of the runner's.
func (j *gitlabJob) stage(t *testing.T, name, text string) *call {
	t.Helper()
	return j.start(t, "run", file(t, filepath.Join(j.dir, "script."+name), "#!/usr/bin/env bash\n\nset -eo pipefail\n"+text+"\n"), name)
}

// code is what the runner reads of the job's exit status.
func (j *gitlabJob) code() string {
	data, _ := os.ReadFile(j.dir + "/code")
	_ = os.Remove(j.dir + "/code")
	return string(data)
}

func TestGitLabJob(t *testing.T) {
	defer nothingRuns(t)
	j := newGitLabJob(t, 1)
	if j.project != j.dir+"/builds/project-7/token/0/group/project" {
		t.Errorf("the project is in %s", j.project)
	}
	j.start(t, "prepare", "--env", "FROM_ADMIN=yes").wantCode(t, 0)
	j.stage(t, "prepare_script", `[ -z "$MAYFLY_IMAGE" ]`).wantCode(t, 0)
	j.stage(t, "get_sources", "mkdir -p "+j.project+"; echo source >"+j.project+"/file").wantCode(t, 0)
	build := j.stage(t, "build_script", strings.Join([]string{
		"cd " + j.project, "cat file", `[ "$MAYFLY_IMAGE" = ` + kit.Image + ` ]`, `[ "$FROM_ADMIN" = yes ]`, "mkdir -p made; echo x >made/deep", "read line || echo no input",
		"echo state >/var/tmp/state", "setsid sleep 1000 >/dev/null 2>&1 &", "true # " + strings.Repeat("a long script ", 30000)}, "\n"))
	build.wantCode(t, 0)
	if build.out.String() != "source\nno input\n" {
		t.Errorf("%q, %s", build.out.String(), build.errs.String())
	}
	after := j.stage(t, "after_script", "cat /var/tmp/state; pgrep -x sleep >/dev/null && echo runs || cat /proc/[0-9]*/comm | grep -x sleep")
	after.wantCode(t, 0)
	if !strings.HasPrefix(after.out.String(), "state\n") || !strings.Contains(after.out.String(), "runs") && !strings.Contains(after.out.String(), "sleep") {
		t.Errorf("%q", after.out.String())
	}
	j.stage(t, "upload_artifacts_on_success", "cat "+j.project+"/made/deep").wantCode(t, 0)
	j.start(t, "cleanup").wantCode(t, 0)
	all(t, j.dir+"/builds")
}

func TestGitLabExitStatuses(t *testing.T) {
	defer nothingRuns(t)
	j := newGitLabJob(t, 2)
	j.start(t, "prepare").wantCode(t, 0)
	for script, code := range map[string]string{"exit 1": "1", "exit 3": "3", "exit 125": "125", "kill -KILL $$": "137", "nosuch": "127", "false": "1"} {
		j.stage(t, "step_script", script).wantCode(t, buildFailure)
		if got := j.code(); got != code {
			t.Errorf("%s: the runner reads %q, want %q", script, got, code)
		}
	}
	j.stage(t, "get_sources", "exit 5").wantCode(t, buildFailure)
	// What is not the job's fault is the runner's to try again.
	if r := kit.Run(t, "kill", "--signal", "KILL", "gl-2"); r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	_ = j.code()
	j.stage(t, "build_script", "true").wantCode(t, systemFailure)
	if got := j.code(); got != "" {
		t.Errorf("a code %q without a build", got)
	}
	j.start(t, "cleanup").wantCode(t, 0)
	j.start(t, "cleanup").wantCode(t, 0)
	for want, more := range map[string]string{"unknown image nosuch": "CUSTOM_ENV_CI_JOB_IMAGE=nosuch", "JOB_RESPONSE_FILE is not set": "JOB_RESPONSE_FILE=", "names no image": "CUSTOM_ENV_CI_JOB_IMAGE="} {
		job := newGitLabJob(t, 3, more)
		bad := job.start(t, "prepare")
		bad.wantCode(t, systemFailure)
		_ = job.start(t, "cleanup").end(t)
		if !strings.Contains(bad.errs.String(), want) {
			t.Errorf("%s: %s", more, bad.errs.String())
		}
	}
}

// A runner that cancels sends SIGTERM, and SIGKILL some time later, and cleans up.
func TestGitLabCancels(t *testing.T) {
	defer nothingRuns(t)
	for i, c := range []struct {
		name, stage, script string
		signals             []syscall.Signal
	}{
		{"a build", "build_script", "sleep 1000", []syscall.Signal{syscall.SIGTERM}},
		{"a build that ignores SIGTERM", "build_script", "trap '' TERM; setsid sleep 1000 & while :; do sleep 1; done", []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}},
		{"sources", "get_sources", "sleep 1000", []syscall.Signal{syscall.SIGTERM}},
		{"what comes after", "after_script", "sleep 1000", []syscall.Signal{syscall.SIGKILL}},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := newGitLabJob(t, 10+i)
			j.start(t, "prepare").wantCode(t, 0)
			stage := j.stage(t, c.stage, "mkdir -p "+j.project+"; touch "+j.project+"/ready\n"+c.script)
			kit.Eventually(t, "the stage runs", func() bool {
				_, err := os.Stat(j.project + "/ready")
				return err == nil
			})
			for n, signal := range c.signals {
				if n > 0 {
					time.Sleep(200 * time.Millisecond)
				}
				stage.signal(signal)
			}
			if code := stage.end(t); code == 0 {
				t.Error("the stage has succeeded")
			}
			j.start(t, "cleanup").wantCode(t, 0)
			all(t, j.dir+"/builds")
		})
	}
}

// Prepare is killed at any moment; then the runner cleans up.
func TestGitLabCancelsAPreparation(t *testing.T) {
	defer nothingRuns(t)
	for i := range kit.Rounds(12, 300) {
		j := newGitLabJob(t, 20)
		prepare := j.start(t, "prepare")
		time.Sleep(time.Duration(i%25) * time.Millisecond)
		prepare.cancel(i)
		_ = prepare.end(t)
		j.start(t, "cleanup").wantCode(t, 0)
		if r := kit.Run(t, "ps", "--names"); r.Out != "" {
			t.Fatalf("round %d: it runs: %s", i, r.Out)
		}
	}
}

func TestTwoGitLabJobsAtOnce(t *testing.T) {
	defer nothingRuns(t)
	a, b := newGitLabJob(t, 30), newGitLabJob(t, 31)
	first, second := a.start(t, "prepare"), b.start(t, "prepare")
	first.wantCode(t, 0)
	second.wantCode(t, 0)
	script := "echo mine >/var/tmp/file; sleep 0.3; "
	one, two := a.stage(t, "build_script", script+"cat /var/tmp/file; exit 4"), b.stage(t, "build_script", script+"ls /tmp /var/tmp | grep -c file")
	one.wantCode(t, buildFailure)
	two.wantCode(t, 0)
	a.start(t, "cleanup").wantCode(t, 0)
	b.stage(t, "after_script", "cat /var/tmp/file").wantCode(t, 0) // the other's end is not this one's
	b.start(t, "cleanup").wantCode(t, 0)
}

func TestGitLabServices(t *testing.T) {
	defer nothingRuns(t)
	const server = `use Socket; socket(S, PF_INET, SOCK_STREAM, 0); setsockopt(S, SOL_SOCKET, SO_REUSEADDR, 1); bind(S, sockaddr_in(6379, INADDR_ANY)) or die; listen(S, 5); while (accept(C, S)) { print C qq(hello\n); close C; }`
	services, err := json.Marshal([]map[string]any{{"name": kit.Image, "alias": "cache", "entrypoint": []string{"perl"}, "command": []string{"-e", server}}})
	kit.Must(t, err)
	j := newGitLabJob(t, 40, "CUSTOM_ENV_CI_JOB_SERVICES="+string(services))
	j.start(t, "prepare", "--network", "none").wantCode(t, 0)
	build := j.stage(t, "build_script", `for i in 1 2 3 4 5 6 7 8 9; do if (exec 3<>/dev/tcp/cache/6379) 2>/dev/null; then cat </dev/tcp/cache/6379; exit; fi; sleep 0.3; done; exit 1`)
	build.wantCode(t, 0)
	if build.out.String() != "hello\n" {
		t.Errorf("%q, %s", build.out.String(), build.errs.String())
	}
	j.start(t, "cleanup").wantCode(t, 0)
}
