// Package slurm runs builds as jobs of a real Slurm: three nodes on this machine, each
// with its own store, by ordinary users.
package slurm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mayfly/integration/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// A cluster is a controller and its nodes. All of their files are in one directory.
type cluster struct {
	dir     string
	nodes   map[string]*exec.Cmd
	daemons []*exec.Cmd
	work    map[string]string // directories of users, for scripts and output
}

const (
	configuration = `ClusterName=mayfly
SlurmctldHost=%[2]s(127.0.0.1)
SlurmctldPort=26817
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=%[1]s/munge/socket
StateSaveLocation=%[1]s/state
SlurmctldPidFile=%[1]s/slurmctld.pid
SlurmctldLogFile=%[1]s/slurmctld.log
SlurmdSpoolDir=%[1]s/%%n/spool
SlurmdPidFile=%[1]s/%%n/slurmd.pid
SlurmdLogFile=%[1]s/%%n/slurmd.log
MpiDefault=none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=100
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000
SlurmdTimeout=10
JobCompType=jobcomp/filetxt
JobCompLoc=%[1]s/jobs
NodeName=n[1-3] NodeHostname=%[2]s NodeAddr=127.0.0.1 Port=[27001-27003] CPUs=4 RealMemory=4000
PartitionName=build Nodes=n[1-3] Default=YES
`
	policy = `store = "/var/lib/machines"
bind-ro = ["/etc/passwd", "/etc/group"]
bind = ["/home"]
allow-bind = ["/"]
writable = true
[[rule]]
images = ["disk"]
tmp = "disk"
[[rule]]
images = ["*"]
`
	// Processes are found by their parents, or by control groups of version 1.
	byParents = "ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\n"
	byGroups  = "ProctrackType=proctrack/cgroup\nTaskPlugin=task/cgroup\n"
	groups    = "CgroupPlugin=cgroup/v1\nCgroupMountpoint=/sys/fs/cgroup\nConstrainRAMSpace=yes\n"
)

// newCluster starts a cluster, which ends with the test.
func newCluster(t *testing.T, more string) *cluster {
	t.Helper()
	dir, err := os.MkdirTemp("/var/lib", "mayfly-slurm-")
	kit.Must(t, err)
	c := &cluster{dir: dir, nodes: map[string]*exec.Cmd{}, work: map[string]string{}}
	t.Cleanup(func() { c.end(t) })
	kit.Must(t, os.Chmod(dir, 0o755))
	host, err := os.Hostname()
	kit.Must(t, err)
	host, _, _ = strings.Cut(host, ".")
	c.write(t, "slurm.conf", fmt.Sprintf(configuration, dir, host)+more)
	c.write(t, "cgroup.conf", groups)
	for _, name := range []string{"munge", "state", "key", "images"} {
		kit.Must(t, os.Mkdir(c.at(name), 0o755))
	}
	kit.Must(t, os.Chmod(c.at("key"), 0o700))
	c.publish(t)
	for _, user := range []string{kit.User, kit.Other} {
		c.work[user], err = os.MkdirTemp(filepath.Join("/home", user), "slurm-")
		_, uid, gid := kit.Lookup(t, user)
		kit.Must(t, errors.Join(err, os.Chown(c.work[user], int(uid), int(gid))))
	}
	c.write(t, "key/key", strings.Repeat("a key of tests only ", 50))
	kit.Must(t, os.Chmod(c.at("key/key"), 0o400))
	c.daemon(t, "munged", "--foreground", "--key-file="+c.at("key/key"), "--socket="+c.at("munge/socket"), "--pid-file="+c.at("munge/pid"), "--log-file="+c.at("key/log"), "--seed-file="+c.at("key/seed"))
	kit.Eventually(t, "munged answers", func() bool { _, err := os.Stat(c.at("munge/socket")); return err == nil })
	c.daemon(t, "slurmctld", "-D")
	for i := 1; i <= 3; i++ {
		c.startNode(t, "n"+strconv.Itoa(i))
	}
	c.await(t, "three nodes are idle", func() bool { return strings.Count(c.root(t, "sinfo", "-hN", "-o", "%T"), "idle\n") == 3 })
	return c
}

// publish makes two images of one static program, for all nodes.
func (c *cluster) publish(t *testing.T) {
	t.Helper()
	store, tree := kit.NewStore(t), filepath.Join(t.TempDir(), "tree")
	kit.Command(t, "sh", "-ec", "mkdir -p "+tree+"/bin && cd "+tree+" && cp /bin/busybox bin/ && for name in $(bin/busybox --list); do [ -e bin/$name ] || ln -s busybox bin/$name; done")
	for _, name := range []string{"tiny", "disk"} {
		kit.Succeed(t, "image", "import", "--store", store, name, tree)
	}
	kit.Succeed(t, "image", "publish", "--store", store, c.at("images"))
}

func (c *cluster) at(name string) string { return filepath.Join(c.dir, name) }

func (c *cluster) write(t *testing.T, name, text string) {
	t.Helper()
	kit.Must(t, errors.Join(os.MkdirAll(filepath.Dir(c.at(name)), 0o755), os.WriteFile(c.at(name), []byte(text), 0o644)))
}

// environment is what Slurm's programs need.
func (c *cluster) environment() []string {
	return append(os.Environ(), "SLURM_CONF="+c.at("slurm.conf"))
}

func (c *cluster) daemon(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = c.environment()
	log, err := os.OpenFile(c.at(args[0]+".out"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	kit.Must(t, err)
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	kit.Must(t, cmd.Start())
	c.daemons = append(c.daemons, cmd)
	return cmd
}

// startNode starts a node, as a machine is switched on. Its processes have a PID
// namespace, so that killing the first of them is like switching it off.
func (c *cluster) startNode(t *testing.T, name string) {
	t.Helper()
	c.write(t, name+"/policy/policy.toml", policy)
	c.write(t, name+"/none", "")
	kit.Must(t, errors.Join(os.MkdirAll(c.at(name+"/spool"), 0o755), os.MkdirAll(c.at(name+"/store"), 0o755)))
	script, err := filepath.Abs("node")
	kit.Must(t, err)
	c.nodes[name] = c.daemon(t, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", script, c.dir, name)
}

// switchOff kills everything that runs on a node.
func (c *cluster) switchOff(t *testing.T, name string) {
	t.Helper()
	kit.Must(t, c.nodes[name].Process.Kill()) // with its child, PID 1 of the node
	_ = c.nodes[name].Wait()
	delete(c.nodes, name)
}

// end stops all daemons and removes everything.
func (c *cluster) end(t *testing.T) {
	if t.Failed() {
		for _, name := range []string{"slurmctld.log", "unshare.out", "n1/slurmd.log"} {
			text, _ := os.ReadFile(c.at(name))
			t.Logf("%s:\n%s", name, text[max(0, len(text)-3000):])
		}
	}
	for i := len(c.daemons) - 1; i >= 0; i-- {
		_ = c.daemons[i].Process.Kill()
		_ = c.daemons[i].Wait()
	}
	for _, dir := range c.work {
		_ = os.RemoveAll(dir)
	}
	for n := 1; n <= 3; n++ { // systemd or losetup may have left the device
		kit.Eventually(t, "the nodes' mounts are gone", func() bool {
			out, err := exec.Command("losetup", "-j", c.at("n"+strconv.Itoa(n)+"/store.btrfs")).Output()
			return err == nil && len(out) == 0
		})
	}
	if err := os.RemoveAll(c.dir); err != nil {
		t.Error(err)
	}
}

// root runs a program of Slurm's, as root, and returns its output.
func (c *cluster) root(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = c.environment()
	return kit.Do(t, cmd).Out
}

// submit submits a job of a user's, and returns its number. The script's output goes to
// NUMBER.out or, of an array, NUMBER_INDEX.out in the user's directory.
func (c *cluster) submit(t *testing.T, user, script string, flags ...string) string {
	t.Helper()
	cmd := kit.As(t, user, append([]string{"sbatch", "--parsable", "--no-requeue", "-D", c.work[user]}, flags...)...)
	if !strings.Contains(strings.Join(flags, " "), "--array") {
		cmd.Args = append(cmd.Args, "-o", "%j.out")
	}
	cmd.Env = append(cmd.Env, "SLURM_CONF="+c.at("slurm.conf"))
	cmd.Stdin = strings.NewReader("#!/bin/sh\n" + script + "\n")
	r := kit.Do(t, cmd)
	if r.Code != 0 {
		t.Fatalf("sbatch: %+v", r)
	}
	return strings.TrimSpace(r.Out)
}

// output is what a job has written.
func (c *cluster) output(user, job string) string {
	text, _ := os.ReadFile(filepath.Join(c.work[user], job+".out"))
	return string(text)
}

// await waits longer than kit.Eventually: Slurm looks at many things every few seconds.
func (c *cluster) await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(kit.Within(90 * time.Second)); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("not within a minute and a half: %s\n%s", what, c.root(t, "squeue", "-a"))
}

// awaitOutput waits until a job has written something.
func (c *cluster) awaitOutput(t *testing.T, user, job, want string) {
	t.Helper()
	c.await(t, want+" of job "+job+" in "+filepath.Join(c.work[user], job+".out"), func() bool { return strings.Contains(c.output(user, job), want) })
}

// awaitEnd waits until no jobs are there.
func (c *cluster) awaitEnd(t *testing.T) {
	t.Helper()
	c.await(t, "the jobs end", func() bool { return c.root(t, "squeue", "-ha", "-o", "%i") == "" })
}

// ended are the jobs that have ended, from the file of Slurm's accounting.
func (c *cluster) ended(t *testing.T) (jobs []map[string]string) {
	t.Helper()
	text, err := os.ReadFile(c.at("jobs"))
	kit.Must(t, err)
	for line := range strings.Lines(string(text)) {
		job := map[string]string{}
		for _, field := range regexp.MustCompile(`(\w+)=(\S*)`).FindAllStringSubmatch(line, -1) {
			job[field[1]] = field[2]
		}
		jobs = append(jobs, job)
	}
	return jobs
}

// on runs a command on a node.
func (c *cluster) on(t *testing.T, node string, args ...string) string {
	t.Helper()
	pid := c.nodes[node].Process.Pid
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	kit.Must(t, err)
	r := kit.Do(t, exec.Command("nsenter", append([]string{"-m", "-p", "-t", strings.TrimSpace(string(children)), "--"}, args...)...))
	if r.Code != 0 {
		t.Errorf("on %s: %q: %+v", node, args, r)
	}
	return r.Out
}

// nothingLeft checks that nothing of a container is on any node: no process but Slurm's,
// no snapshot, no mount, no record. What a supervisor leaves that was killed by force, the
// collector takes, as its timer does every hour.
func (c *cluster) nothingLeft(t *testing.T) {
	t.Helper()
	for node := range c.nodes {
		var left string
		end := time.Now().Add(kit.Within(20 * time.Second))
		for ; time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
			left = c.on(t, node, "sh", "-c", `runtime gc >/dev/null; ls -A /var/lib/machines/.mayfly; find /run/mayfly -type f; grep -F /.mayfly/ /proc/self/mountinfo
				for p in /proc/[0-9]*; do case $(cat $p/comm 2>/dev/null) in slurm*|tini|sh|""|ls|cat|find|grep) ;; *) tr '\0' ' ' <$p/cmdline; echo;; esac; done; true`)
			if left == "" {
				break
			}
		}
		if left != "" {
			t.Errorf("left on %s:\n%s", node, left)
		}
	}
}
