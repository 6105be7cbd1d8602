package slurm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

func TestBuildsAsJobs(t *testing.T) {
	c := newCluster(t, byParents)
	t.Run("an array of a hundred", c.array)
	t.Run("cancelled", c.cancelled)
	t.Run("one of two", c.oneOfTwo)
	t.Run("use", c.use)
	t.Run("supervisor killed", c.supervisorKilled)
	t.Run("Slurm's daemons killed", c.daemonsKilled)
	t.Run("node off, and a time limit", c.nodeOff)
}

// array runs a hundred builds of two users: statuses and output are those of the
// builds. The nodes give their users neither subordinate ids nor /run/user/UID.
func (c *cluster) array(t *testing.T) {
	const half = 50
	build := `runtime run --quiet --status status-$SLURM_ARRAY_TASK_ID tiny -- sh -c "echo built $SLURM_ARRAY_TASK_ID by \$(id -u); exit $((SLURM_ARRAY_TASK_ID % 7))"`
	job := map[string]string{}
	for user := range c.work {
		job[user] = c.submit(t, user, build, "--array=1-"+strconv.Itoa(half), "-o", "%A_%a.out")
	}
	c.awaitEnd(t)
	nodes, codes := map[string]int{}, map[string]int{}
	for _, j := range c.ended(t) {
		nodes[j["NodeList"]]++
		codes[j["ExitCode"]]++
		if code, _, _ := strings.Cut(j["ExitCode"], ":"); (j["JobState"] == "COMPLETED") != (code == "0") {
			t.Errorf("%v", j)
		}
	}
	for user, id := range job {
		_, uid, _ := kit.Lookup(t, user)
		for i := 1; i <= half; i++ {
			if got, want := c.output(user, fmt.Sprintf("%s_%d", id, i)), fmt.Sprintf("built %d by %d\n", i, uid); got != want {
				t.Errorf("%s: %q, want %q", user, got, want)
			}
			text, err := os.ReadFile(filepath.Join(c.work[user], "status-"+strconv.Itoa(i)))
			if want := fmt.Sprintf(`"exit":%d,`, i%7); err != nil || !strings.Contains(string(text), want) {
				t.Errorf("%s: %s, %v, want %s", user, text, err, want)
			}
		}
	}
	want := map[string]int{}
	for i := 1; i <= half; i++ {
		want[fmt.Sprintf("%d:0", i%7)] += 2
	}
	for code, n := range want {
		if codes[code] != n {
			t.Errorf("exit codes %v, want %v", codes, want)
			break
		}
	}
	if len(nodes) != 3 {
		t.Errorf("nodes: %v", nodes)
	}
	c.nothingLeft(t)
}

// stubborn are builds that do not end at SIGTERM by themselves, or leave processes.
var stubborn = map[string]string{
	"ignores TERM":          `trap "" TERM; echo ready; while :; do sleep 1; done`,
	"handles TERM":          `trap "echo cleaned up; exit 3" TERM; echo ready; while :; do sleep 0.1; done`,
	"children elsewhere":    `setsid sleep 1000 & setsid sh -c "trap \"\" TERM; while :; do sleep 1; done" & echo ready; wait`,
	"stopped":               `echo ready; kill -STOP $$`,
	"reads what never ends": `mkfifo /tmp/f; echo ready; cat /tmp/f`,
}

func (c *cluster) cancelled(t *testing.T) {
	var jobs []string
	for _, build := range stubborn {
		quoted := " --quiet tiny -- sh -c '" + strings.ReplaceAll(build, "'", `'\''`) + "'"
		// A script that is not replaced dies of SIGTERM. Slurm then forgets its children.
		jobs = append(jobs, c.submit(t, kit.User, "exec runtime run"+quoted), c.submit(t, kit.User, "runtime run --die-with-parent"+quoted+"; echo over"))
	}
	for _, id := range jobs {
		c.awaitOutput(t, kit.User, id, "ready")
	}
	for _, id := range jobs {
		c.root(t, "scancel", id)
	}
	c.awaitEnd(t)
	c.nothingLeft(t)
}

// oneOfTwo: to end a job needs no epilog that kills what its user has on the node.
func (c *cluster) oneOfTwo(t *testing.T) {
	build := "exec runtime run --quiet tiny -- sh -c 'echo ready; while [ ! -e go ]; do sleep 0.1; done; echo went on'"
	first, second := c.submit(t, kit.User, build, "-w", "n1"), c.submit(t, kit.User, build, "-w", "n1")
	c.awaitOutput(t, kit.User, first, "ready")
	c.awaitOutput(t, kit.User, second, "ready")
	c.root(t, "scancel", first)
	c.await(t, "one job ends", func() bool { return c.root(t, "squeue", "-ha", "-o", "%i") == second+"\n" })
	kit.Must(t, os.WriteFile(filepath.Join(c.work[kit.User], "go"), nil, 0o644))
	c.awaitOutput(t, kit.User, second, "went on")
	if strings.Contains(c.output(kit.User, first), "went on") {
		t.Error("the first was not ended")
	}
	c.awaitEnd(t)
	c.nothingLeft(t)
}

// use: what a container uses is the job's, also of processes with a session of their
// own.
func (c *cluster) use(t *testing.T) {
	id := c.submit(t, kit.User, `exec runtime run --quiet tiny -- sh -c 'setsid sh -c "head -c 60000000 /dev/zero | tail -c 60000000 | sleep 1000" & echo ready; while :; do :; done'`)
	c.awaitOutput(t, kit.User, id, "ready")
	c.await(t, "the accounting has 60 MB and 2 s", func() bool {
		out := c.root(t, "sstat", "-anP", "-j", id, "--format=MaxRSS,AveCPU")
		found := regexp.MustCompile(`(?m)^(\d+)K?\|(?:\d+:)*(\d+):(\d+)`).FindStringSubmatch(out)
		if found == nil {
			return false
		}
		kib, _ := strconv.Atoi(found[1])
		seconds, _ := strconv.Atoi(found[3])
		return kib >= 55_000 && seconds >= 2
	})
	c.root(t, "scancel", id)
	c.awaitEnd(t)
	c.nothingLeft(t)
}

// supervisorKilled: a build whose runtime is killed is a failed job.
func (c *cluster) supervisorKilled(t *testing.T) {
	id := c.submit(t, kit.User, `runtime run --quiet --writable tiny -- sh -c 'setsid sleep 1000 & echo ready; sleep 1000'; code=$?; echo exit $code; exit $code`, "-w", "n2")
	c.awaitOutput(t, kit.User, id, "ready")
	c.on(t, "n2", "sh", "-c", `kill -9 $(runtime ps --all-users --json | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')`)
	c.awaitOutput(t, kit.User, id, "exit 137")
	c.awaitEnd(t)
	c.nothingLeft(t)
}

// daemonsKilled: nobody is left who would end the build, but a build that is to die with
// its parent.
func (c *cluster) daemonsKilled(t *testing.T) {
	id := c.submit(t, kit.User, `exec runtime run --die-with-parent --quiet tiny -- sh -c 'trap "" TERM; setsid sleep 1000 & echo ready; while :; do sleep 1; done'`, "-w", "n1")
	c.awaitOutput(t, kit.User, id, "ready")
	c.on(t, "n1", "sh", "-c", `for p in /proc/[0-9]*; do case $(cat $p/cmdline | tr '\0' ' ') in "slurmstepd: ["*) kill -9 ${p#/proc/};; esac; done`)
	c.nothingLeft(t)
	c.root(t, "scancel", id)
	c.awaitEnd(t)
}

// nodeOff: a node is switched off while it builds, and on again. Meanwhile a build on
// another node comes to its time limit, of which Slurm's shortest is a minute.
func (c *cluster) nodeOff(t *testing.T) {
	limited := c.submit(t, kit.User, `exec runtime run --quiet tiny -- sh -c 'trap "" TERM; echo ready; while :; do sleep 1; done'`, "-t", "1", "-w", "n1")
	build := "exec runtime run --quiet --writable tiny -- sh -c 'echo ready >>log; echo ready; [ $(wc -l <log) -gt 1 ] || sleep 1000'"
	id := c.submit(t, kit.User, build, "-w", "n3", "--requeue", "--open-mode=append")
	c.awaitOutput(t, kit.User, id, "ready")
	c.awaitOutput(t, kit.User, limited, "ready")
	c.root(t, "scontrol", "update", "JobId="+limited, "EndTime=now+1")
	c.switchOff(t, "n3")
	c.await(t, "the node is down", func() bool { return strings.Contains(c.root(t, "sinfo", "-hn", "n3", "-o", "%T"), "down") })
	c.startNode(t, "n3")
	c.await(t, "the job is queued again", func() bool { return strings.Contains(c.root(t, "scontrol", "show", "job", id), "Restarts=1") })
	c.await(t, "the node is idle", func() bool { return c.root(t, "sinfo", "-hn", "n3", "-o", "%T") == "idle\n" })
	c.root(t, "scontrol", "update", "JobId="+id, "StartTime=now+15") // and not in two minutes: Slurm still tells the node that the first one is over
	c.awaitEnd(t)
	if got := c.output(kit.User, id); strings.Count(got, "ready") != 2 {
		t.Errorf("%q", got)
	}
	for _, j := range c.ended(t) {
		if j["JobId"] == limited && j["JobState"] != "TIMEOUT" {
			t.Errorf("%v", j)
		}
	}
	c.nothingLeft(t)
}

// With control groups of version 1 for processes and memory: the container is in the
// job's group, whose limit counts. What it writes to /tmp on disk is not memory. (In
// memory it is: then the kernel kills what it finds in the group, Slurm's own too.)
func TestBuildsInAJobsControlGroup(t *testing.T) {
	if _, err := os.Stat("/sys/fs/cgroup/memory/memory.limit_in_bytes"); errors.Is(err, os.ErrNotExist) {
		t.Log("version 1 is not here")
		return
	}
	c := newCluster(t, byGroups)
	id := c.submit(t, kit.User, `run() { runtime run --quiet "$@"; echo exit $?; }
run --memory 1G tiny -- true
run --memory 200M disk -- true
run --memory 50M tiny -- true
run disk -- sh -c 'head -c 500000000 /dev/zero >/tmp/full && echo full'
runtime run tiny -- sh -c 'echo ready; exec sleep 1000'`, "--mem=200M", "-w", "n1")
	c.awaitOutput(t, kit.User, id, "ready")
	group := regexp.MustCompile(`(?m)^\d+:memory:\S*/slurm\S*/uid_\d+/job_` + id + `/step_batch`)
	if got := c.on(t, "n1", "sh", "-c", "cat /proc/$(pidof sleep)/cgroup"); !group.MatchString(got) {
		t.Errorf("%s", got)
	}
	c.root(t, "scancel", id)
	c.awaitEnd(t)
	want := regexp.MustCompile(`^exit 0
exit 0
runtime: .*no controller for memory.*
exit 125
full
exit 0
ready
`)
	if got := c.output(kit.User, id); !want.MatchString(got) {
		t.Errorf("%s", got)
	}
	c.nothingLeft(t)
	t.Run("cancelled", c.cancelled)
}
