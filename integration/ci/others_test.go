package ci

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mayfly/integration/kit"
)

// A buildkiteJob is a job as Buildkite's agent runs it: the command hook is a script of
// the administrator's, in the job's process group.
type buildkiteJob struct {
	dir string
	env []string
}

func newBuildkiteJob(t *testing.T, id, command string) *buildkiteJob {
	t.Helper()
	dir := filepath.Join(kit.WorkDirectory(t, kit.User), "checkout")
	kit.Must(t, os.Mkdir(dir, 0o755))
	kit.Command(t, "chown", kit.User+":", dir)
	env := file(t, dir+"/job-env", "BUILDKITE_JOB_ID=\""+id+"\"\nGREETING=\"hello\"\nBUILDKITE_AGENT_ACCESS_TOKEN=\"token\"\n")
	return &buildkiteJob{dir, []string{"BUILDKITE=true", "CI=true", "BUILDKITE_JOB_ID=" + id, "GREETING=hello", "BUILDKITE_AGENT_ACCESS_TOKEN=token", "BUILDKITE_ENV_FILE=" + env,
		"BUILDKITE_COMMAND=" + command, "BUILDKITE_BUILD_CHECKOUT_PATH=" + dir, "BUILDKITE_BUILD_PATH=" + filepath.Dir(dir)}}
}

func (j *buildkiteJob) hook(t *testing.T, name string, args ...string) *call {
	t.Helper()
	script := file(t, j.dir+"/hook-"+name, "#!/bin/bash\n"+kit.Runtime+" ci buildkite "+name+" "+strings.Join(args, " ")+"\n")
	return start(t, j.env, "", j.dir, "bash", script)
}

func TestBuildkiteJob(t *testing.T) {
	defer nothingRuns(t)
	j := newBuildkiteJob(t, "0190-aa", `echo "$GREETING [$BUILDKITE_AGENT_ACCESS_TOKEN] $CI $MAYFLY_IMAGE"; pwd; mkdir -p made; touch made/deep; setsid sleep 1000 & exit 3`)
	c := j.hook(t, "command", kit.Image)
	c.wantCode(t, 3)
	if got := c.out.String(); got != "hello [] true "+kit.Image+"\n"+j.dir+"\n" {
		t.Errorf("%q, %s", got, c.errs.String())
	}
	j.hook(t, "pre-exit").wantCode(t, 0)
	all(t, j.dir)
	j = newBuildkiteJob(t, "0190-ab", "false; true")
	j.env = append(j.env, "BUILDKITE_PLUGIN_MAYFLY_IMAGE="+kit.Image)
	j.hook(t, "command").wantCode(t, 1)
	j = newBuildkiteJob(t, "0190-ac", "true")
	j.hook(t, "command", "nosuch").wantCode(t, 125)
	j.hook(t, "command").wantCode(t, 125)
}

// The agent sends SIGTERM to the job's processes, and SIGKILL ten seconds later. The hook
// pre-exit may never be called.
func TestBuildkiteCancels(t *testing.T) {
	defer nothingRuns(t)
	for name, signals := range map[string][]syscall.Signal{"in time": {syscall.SIGTERM}, "at once": {syscall.SIGKILL}, "at last": {syscall.SIGTERM, syscall.SIGKILL}} {
		t.Run(name, func(t *testing.T) {
			command := "touch ready; sleep 1000"
			if name == "at last" {
				command = "trap '' TERM; touch ready; setsid sleep 1000 & while :; do sleep 1; done"
			}
			j := newBuildkiteJob(t, "0190-c", command)
			c := j.hook(t, "command", kit.Image)
			kit.Eventually(t, "the command runs", func() bool {
				_, err := os.Stat(j.dir + "/ready")
				return err == nil
			})
			for _, signal := range signals {
				c.signal(signal)
				time.Sleep(100 * time.Millisecond)
			}
			if c.end(t) == 0 {
				t.Error("it has succeeded")
			}
			kit.Eventually(t, "the container ends", func() bool { return kit.Run(t, "ps", "--names").Out == "" })
			j.hook(t, "pre-exit").wantCode(t, 0)
			all(t, j.dir)
		})
	}
}

// The hook of the agent alone is killed, not what it has started.
func TestBuildkitesHookIsKilled(t *testing.T) {
	defer nothingRuns(t)
	j := newBuildkiteJob(t, "0190-d", "touch ready; sleep 1000")
	c := j.hook(t, "command", kit.Image)
	kit.Eventually(t, "the command runs", func() bool {
		_, err := os.Stat(j.dir + "/ready")
		return err == nil
	})
	kit.Must(t, c.Process.Kill())
	c.end(t)
	kit.Eventually(t, "the container ends", func() bool { return kit.Run(t, "ps", "--names").Out == "" })
}

// Jenkins starts a script in the background, and to abort it kills every process whose
// environment has the build's cookie, as far as it can read that.
func TestJenkinsAborts(t *testing.T) {
	defer nothingRuns(t)
	dir := kit.WorkDirectory(t, kit.User)
	const cookie = "JENKINS_NODE_COOKIE=durable-5f2a"
	script := file(t, dir+"/script.sh", fmt.Sprintf("#!/bin/sh -xe\n%s run --die-with-parent --writable %s -- sh -c 'touch ready; setsid sleep 1000 & sleep 1000'\n", kit.Runtime, kit.Image))
	start(t, []string{cookie}, "", dir, "sh", "-c", "nohup setsid "+script+" >jenkins.log 2>&1 &").wantCode(t, 0)
	kit.Eventually(t, "the command runs", func() bool {
		_, err := os.Stat(dir + "/ready")
		return err == nil
	})
	names, err := filepath.Glob("/proc/[0-9]*")
	kit.Must(t, err)
	killed := 0
	for _, name := range names {
		// As the agent's user: of a process with privileges it cannot read the environment.
		r := kit.Do(t, kit.As(t, kit.User, "cat", name+"/environ"))
		if bytes.Contains([]byte(r.Out), []byte(cookie)) {
			pid, _ := strconv.Atoi(filepath.Base(name))
			_ = kit.Do(t, kit.As(t, kit.User, "kill", "-TERM", strconv.Itoa(pid)))
			killed++
		}
	}
	if killed == 0 {
		t.Error("no process has the cookie")
	}
	kit.Eventually(t, "the container ends", func() bool { return kit.Run(t, "ps", "--names").Out == "" })
	all(t, dir)
}

func TestTwoBuildkiteJobsAtOnce(t *testing.T) {
	defer nothingRuns(t)
	a, b := newBuildkiteJob(t, "0190-e", "touch /var/tmp/mine ready; sleep 0.2; exit 4"), newBuildkiteJob(t, "0190-e1", "touch ready; while [ ! -e end ]; do sleep 0.1; done; [ ! -e /var/tmp/mine ]")
	one, two := a.hook(t, "command", kit.Image), b.hook(t, "command", kit.Image)
	kit.Eventually(t, "both run", func() bool {
		_, errA := os.Stat(a.dir + "/ready")
		_, errB := os.Stat(b.dir + "/ready")
		return errA == nil && errB == nil
	})
	one.wantCode(t, 4)
	a.hook(t, "pre-exit").wantCode(t, 0) // of this job alone
	file(t, b.dir+"/end", "")
	two.wantCode(t, 0)
	b.hook(t, "pre-exit").wantCode(t, 0)
}
