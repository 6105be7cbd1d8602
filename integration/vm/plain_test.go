package vm

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mayfly/integration/kit"
)

const user = `su -s /bin/sh user -c `

// What a machine without systemd is asked. The policy's limits are for user; root has
// those of the command line.
var plainScenarios = []scenario{
	{"kernel", "uname -r; cat /sys/fs/cgroup/cgroup.controllers", []string{`(?m)^6\.1\.`, `\bmemory\b`, `\bpids\b`, `\bcpu\b`, `\bio\b`}},
	{"plain run", `runtime run --quiet bb -- id; ` + user + `"runtime run --quiet --writable bb -- id"`, []string{`uid=0`, `uid=1000`}},
	{"another build goes on", `runtime run --quiet --name build bb -- sh -c 'for i in 1 2 3 4 5 6; do sleep 1; head -c 1m /dev/zero | md5sum >/dev/null; done; echo built' > /tmp/built 2>&1 &
echo $! > /tmp/build.pid`, nil},
	{"memory hog", `runtime run --quiet --memory 30M --stats - bb -- sh -c 'cat /proc/self/cgroup; head -c 100m /dev/zero | tail -c 90m > /dev/null; echo hog $?'`,
		[]string{`0::/mayfly/0\.bb-`, `hog 137`, `runtime: out of memory: the kernel killed \d+ of the container's processes at its limit of 31457280 bytes`, `"oomKills":[1-9]`}},
	{"fork bomb", `runtime run --quiet --tasks 30 --timeout 3s --kill-after 1s --stats - bb -- sh -c 'exec 2>/dev/null; bomb() { while :; do (bomb) & done; }; bomb'`,
		[]string{`"tasksPeak":30,`}},
	{"tmpfs filler", `runtime run --quiet --memory 30M --stats - bb -- sh -c 'head -c 60m /dev/zero > /tmp/fill; echo filled $?'`, []string{`filled 137`, `"memoryPeakBytes":31457280`}},
	{"processor", `runtime run --quiet --cpus 0.2 --stats - bb -- sh -c 'i=0; while [ $i -lt 15000 ]; do i=$((i+1)); done'`, []string{`"of":"container"`}},
	{"the build", `while [ ! -s /tmp/built ] && kill -0 $(cat /tmp/build.pid); do sleep 0.2; done; cat /tmp/built`, []string{`^built\n$`}},
	{"the policy's bounds", `printf '[[rule]]\nimages = ["*"]\nwritable = true\nlimits = { memory = "30M", tasks = 20, cpu = 1.5, cpu-weight = 50, sessions = 1 }\n' > /etc/mayfly/policy.toml
` + user + `"runtime run --quiet --name bound --memory 1T --swap 1T --tasks 9999 --cpus 64 --cpu-weight 10000 bb -- sleep 60" &
until runtime exec user/bound true; do sleep 0.1; done
cd /sys/fs/cgroup/mayfly/1000.bound; echo $(cat memory.max pids.max cpu.max cpu.weight)
runtime exec user/bound cat /proc/self/cgroup; cat cgroup.procs | wc -l; ` + user + `"runtime kill --signal KILL bound"; wait; ls /sys/fs/cgroup/mayfly | grep -c bound`,
		[]string{`31457280 20 150000 100000 50`, `0::/mayfly/1000\.bound`, `(?m)^1$`, `(?m)^0$`}},
	{"sessions", user + `"runtime session begin --name a bb && runtime session begin --name b bb; runtime run --quiet --session a -- sh -c 'echo kept > /open/file'; runtime run --quiet --session a -- cat /open/file; runtime session end a; runtime session list --names" `,
		[]string{`(?m)^a$`, `too many sessions: you already have 1 of 1 `, `(?m)^kept$`}},
	{"killed supervisor", `runtime run --quiet --name dead --tasks 20 bb -- sleep 60 & pid=$!
until runtime exec dead true; do sleep 0.1; done; kill -9 $pid; wait; runtime gc; find /sys/fs/cgroup/mayfly -mindepth 1 -type d | wc -l; ls -A /run/mayfly /var/lib/machines/.mayfly`,
		[]string{`removed /sys/fs/cgroup/mayfly/0\.dead`, `(?m)^0$`}},
	{"a bounded user stays", `echo +pids > /sys/fs/cgroup/cgroup.subtree_control; mkdir /sys/fs/cgroup/job; echo 100 > /sys/fs/cgroup/job/pids.max
sh -c 'echo $$ > /sys/fs/cgroup/job/cgroup.procs; su -s /bin/sh user -c "runtime run --quiet bb -- true"'; rmdir /sys/fs/cgroup/job`,
		[]string{`your own control group is bounded: pids\.max of /job is "100"`}},
	{"a job's limits count", `cp /etc/mayfly/policy.toml /tmp/policy; printf '[[rule]]\nimages = ["*"]\n' > /etc/mayfly/policy.toml
echo "+pids +memory" > /sys/fs/cgroup/cgroup.subtree_control; mkdir /sys/fs/cgroup/job; echo 100M > /sys/fs/cgroup/job/memory.max
for m in 1G 100M 50M; do sh -c 'echo $$ > /sys/fs/cgroup/job/cgroup.procs; su -s /bin/sh user -c "runtime run --quiet --memory '$m' bb -- true"'; echo exit $?; done
sh -c 'echo $$ > /sys/fs/cgroup/job/cgroup.procs; su -s /bin/sh user -c "runtime run --quiet --stats - bb -- cat /proc/self/cgroup"'; rmdir /sys/fs/cgroup/job; cp /tmp/policy /etc/mayfly/policy.toml`,
		[]string{`(?m)^exit 0\nexit 0\nruntime: .*your own control group is bounded: memory\.max of /job is "104857600".*\nexit 125\n0::/job$`, `"of":"command"`}},
	{"a user does not leave", user + `"echo 0 > /sys/fs/cgroup/cgroup.procs; mkdir /sys/fs/cgroup/mayfly/x"`, []string{`(?i)permission denied[^z]*permission denied`}},
}

func TestLimitsHoldWithoutSystemd(t *testing.T) {
	t.Parallel()
	results := boot(t, plainScenarios)
	for i, s := range plainScenarios {
		t.Run(s.name, func(t *testing.T) {
			out, ok := results[fmt.Sprintf("%02d", i)]
			if !ok {
				t.Fatal("did not run")
			}
			s.check(t, out)
		})
	}
}

// boot runs the scenarios in a machine without disks, and returns what each wrote, by
// number.
func boot(t *testing.T, scenarios []scenario) map[string]string {
	t.Helper()
	directory := Prepare(t, "bookworm")
	root := filepath.Join(t.TempDir(), "root")
	fill(t, root, one(t, directory+"/overlay.ko"), scenarios)
	initrd := filepath.Join(t.TempDir(), "initrd")
	kit.Must(t, pack(root, initrd))
	cmd := exec.Command("timeout", "600", "qemu-system-x86_64", "-M", "microvm,acpi=off", "-cpu", processor, "-m", "1536", "-smp", "2", "-nographic",
		"-no-reboot", "-kernel", filepath.Join(directory, "vmlinuz"), "-initrd", initrd, "-append", "console=ttyS0 panic=-1 quiet reboot=t "+sameAddresses)
	begun := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("qemu: %v\n%s", err, out)
	}
	t.Logf("the machine ran %v", time.Since(begun).Round(time.Second))
	results := map[string]string{}
	text := strings.ReplaceAll(string(out), "\r", "")
	for _, m := range regexp.MustCompile(`(?s)== begin (\d+)\n(.*?)== end \d+\n`).FindAllStringSubmatch(text, -1) {
		results[m[1]] = m[2]
	}
	if len(results) != len(scenarios) {
		t.Logf("the machine's console:\n%s", text)
	}
	return results
}

func one(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		t.Fatalf("no %s", pattern)
	}
	return found[0]
}

// fill makes the machine's root file system: one static program, what is under test, an
// image of the same program.
func fill(t *testing.T, root, module string, scenarios []scenario) {
	t.Helper()
	for _, dir := range []string{"bin", "etc", "home", "var/lib"} {
		kit.Must(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	kit.Command(t, "install", "/bin/busybox", filepath.Join(root, "bin")+"/")
	kit.Must(t, os.Symlink("busybox", filepath.Join(root, "bin/sh")))
	for name, text := range map[string]string{"passwd": "root:x:0:0::/:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n", "group": "root:x:0:\nuser:x:1000:\n"} {
		kit.Must(t, os.WriteFile(filepath.Join(root, "etc", name), []byte(text), 0o644))
	}
	for _, dir := range []string{"modules", "tests",
		"image/bin", "image/dev", "image/etc", "image/home", "image/open", "image/opt", "image/proc", "image/run", "image/sys", "image/tmp", "image/var/tmp"} {
		kit.Must(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	kit.Must(t, os.Chmod(filepath.Join(root, "image/open"), 0o777))
	kit.Must(t, os.Chmod(root, 0o755))
	for from, to := range map[string]string{kit.Runtime: "bin", "init": "", "run-tests": "", module: "modules"} {
		kit.Command(t, "install", "-m", "0755", from, filepath.Join(root, to)+"/")
	}
	kit.Command(t, "install", "/bin/busybox", filepath.Join(root, "image/bin")+"/")
	for _, name := range strings.Fields("sh cat id sleep head tail md5sum true") {
		kit.Must(t, os.Symlink("busybox", filepath.Join(root, "image/bin", name)))
	}
	for i, s := range scenarios {
		kit.Must(t, os.WriteFile(filepath.Join(root, "tests", fmt.Sprintf("%02d", i)), []byte(s.script+"\n"), 0o644))
	}
}

// pack makes an initramfs of a directory.
func pack(root, initrd string) error {
	cmd := exec.Command("sh", "-c", "find . | cpio -o -H newc --quiet -R 0:0 | gzip -1 > "+initrd)
	cmd.Dir = root
	var problem bytes.Buffer
	cmd.Stderr = &problem
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("pack: %w: %s", err, problem.String())
	}
	return nil
}
