package attack

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mayfly/integration/kit"
)

func TestI01WhatIsWritable(t *testing.T) {
	everyMode(t, func(t *testing.T, w way) {
		// Directories and files that the user could write to by their modes, and can.
		r := w.inside(t, `find / -xdev -writable ! -type l 2>/dev/null | while read f; do
			if [ -d "$f" ]; then touch "$f/.probe" 2>/dev/null && echo "$f"; else ( : >>"$f" ) 2>/dev/null && echo "$f"; fi; done`)
		// find names the mount points of other file systems too, of which /run is
		// root's.
		own := slices.DeleteFunc(strings.Fields(r.Out), func(f string) bool {
			// A user's own image may be on the file system that /home is on.
			return f == "/tmp" || f == "/var/tmp" || f == "/run" && slices.Contains(w.mode, "--root") || strings.HasPrefix(f, "/home/") && slices.Contains(w.mode, "--unprivileged")
		})
		if len(own) > 0 {
			t.Errorf("writable in the root file system: %s", own)
		}
		for _, flags := range [][]string{nil, {"--writable"}} {
			// File systems that are writable are the memory-backed ones and the binds.
			r := w.inside(t, `while read a b c d point options rest; do case "$options" in rw*) echo "$point";; esac; done </proc/self/mountinfo`, flags...)
			allowed := []string{"/tmp", "/var/tmp", "/run", "/dev/shm", "/dev/mqueue", "/dev/pts", "/home", "/proc"}
			if flags != nil {
				allowed = append(allowed, "/")
			}
			for _, point := range strings.Fields(r.Out) {
				device := strings.HasPrefix(point, "/dev/") && !slices.Contains([]string{"/dev/shm"}, point)
				if !slices.Contains(allowed, point) && !device && !strings.HasPrefix(point, "/home/") && !strings.HasPrefix(point, "/proc/") && !strings.HasPrefix(point, "/sys/") {
					t.Errorf("%v: %s is mounted rw", flags, point)
				}
			}
		}
		r = w.inside(t, "for d in / /usr /etc /opt /var /dev /sys /proc /proc/sys; do touch $d/x 2>/dev/null && echo $d; done; for f in /etc/passwd /etc/group /etc/hosts /etc/resolv.conf /proc/sys/kernel/hostname; do ( echo >>$f ) 2>/dev/null && echo $f; done")
		if r.Out != "" {
			t.Errorf("writable: %s", r.Out)
		}
	})
}

// callsWant is the answer to each call of the helper's list.
func TestI02I14SystemCalls(t *testing.T) {
	everyMode(t, func(t *testing.T, w way) {
		r := w.help(t, "calls")
		if r.Code != 0 || strings.Count(r.Out, "\n") < 30 {
			t.Fatalf("%+v", r)
		}
		for line := range strings.Lines(r.Out) {
			name, got := line[:strings.LastIndexByte(line, ' ')], strings.TrimSpace(line[strings.LastIndexByte(line, ' '):])
			want := "EPERM"
			switch name {
			case "clone3", "io_uring_setup", "unknown":
				want = "ENOSYS"
			case "chroot", "setuid": // root inside is the one already, and may do the other
				if slices.Contains(w.mode, "--root") {
					want = "OK"
				}
			}
			if got != want {
				t.Errorf("%s answers %s, want %s", name, got, want)
			}
		}
		for _, script := range []string{"mount -o remount,rw /", "mount -t tmpfs x /tmp", "umount /home", "umount -l /proc", "mount --bind /tmp /opt", "unshare -m true", "unshare -Ur true", "nsenter -t 1 -m true", "pivot_root . .", "mount -t proc proc /tmp"} {
			if r := w.inside(t, script); r.Code == 0 {
				t.Errorf("%s succeeds", script)
			}
		}
	})
}

func TestI03KernelFiles(t *testing.T) {
	everyMode(t, func(t *testing.T, w way) {
		pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
		kit.Must(t, err)
		for _, path := range []string{
			"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hotplug", "/proc/sys/vm/overcommit_memory", "/proc/sys/fs/binfmt_misc/register", "/proc/sys/fs/binfmt_misc/status", "/proc/sysrq-trigger",
			"/proc/kmsg", "/proc/irq/default_smp_affinity", "/proc/bus/pci/devices", "/sys/kernel/uevent_helper", "/sys/power/state", "/sys/kernel/mm/transparent_hugepage/enabled",
			"/sys/fs/cgroup/cgroup.procs", "/sys/module/kernel/parameters/panic", "/proc/1/oom_score_adj", "/proc/1/attr/current", "/proc/1/clear_refs", "/proc/1/mem", "/proc/scsi/scsi", "/proc/fs/nfs/exports", "/proc/mtrr",
		} {
			if r := w.inside(t, "echo x >"+path); r.Code == 0 {
				t.Errorf("%s can be written to", path)
			}
		}
		for _, path := range []string{"/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/proc/latency_stats", "/proc/kmsg", "/proc/1/environ", "/proc/1/mem", "/proc/1/maps", "/proc/1/stack"} {
			if r := w.inside(t, "head -c 16 "+path+" 2>/dev/null | wc -c"); r.Out != "0\n" {
				t.Errorf("%s can be read: %+v", path, r)
			}
		}
		for _, path := range []string{"/sys/firmware", "/proc/acpi", "/proc/scsi", "/proc/asound", "/sys/devices/virtual/powercap"} {
			if r := w.inside(t, "ls -A "+path+" 2>/dev/null"); r.Out != "" {
				t.Errorf("%s shows %q", path, r.Out)
			}
		}
		// A link in procfs must not lead past what is masked (CVE-2025-31133,
		// CVE-2025-52881).
		if r := w.inside(t, "for p in /proc/self/root/proc/sysrq-trigger /proc/thread-self/root/proc/sys/kernel/core_pattern /dev/fd/../../../sys/kernel/core_pattern; do ( echo x >$p ) 2>/dev/null && echo $p; done"); r.Out != "" {
			t.Errorf("writable by another way: %s", r.Out)
		}
		if after, err := os.ReadFile("/proc/sys/kernel/core_pattern"); err != nil || string(after) != string(pattern) {
			t.Fatalf("core_pattern is %q, was %q", after, pattern)
		}
	})
}

func TestI04PID1AndTheHostsBinary(t *testing.T) {
	everyMode(t, func(t *testing.T, w way) {
		before := checksum(t, w.path())
		for _, script := range []string{
			"readlink /proc/1/exe", "cat /proc/1/exe", "ls /proc/1/fd", "ls /proc/1/root/", "ls /proc/1/cwd/", "cat /proc/1/mem", "cat /proc/1/environ", "cat /proc/1/maps", "cat /proc/1/auxv", "ls /proc/1/map_files",
			"ls /proc/1/task/1/fd", "echo x >/proc/1/exe", "exec 3</proc/1/exe", "cat /proc/1/ns/mnt", "nsenter -t 1 -a true", "cat /proc/1/stack", "kill -0 2147483647",
		} {
			if r := w.inside(t, script); r.Code == 0 {
				t.Errorf("%s: %+v", script, r)
			}
		}
		// The command itself is not the host's binary, at no moment.
		if r := w.inside(t, "readlink /proc/self/exe; readlink /proc/$$/exe"); strings.Contains(r.Out, "runtime") {
			t.Errorf("%+v", r)
		}
		r := w.help(t, "peek", "1")
		if r.Out != "" {
			t.Errorf("PID 1 can be looked into by %s", r.Out)
		}
		// A command that is a link to its own process, as in CVE-2019-5736, is this
		// binary: without its grant, and no more to be written to than by anybody on
		// the host.
		kit.Change(t, "attack-self", "ln -s /proc/self/exe usr/bin/self; printf '#!/proc/self/exe\n' >usr/bin/selfscript; chmod 755 usr/bin/selfscript")
		for _, command := range []string{"/proc/self/exe", "/proc/1/exe", "/proc/thread-self/exe", "/usr/bin/self", "/usr/bin/selfscript"} {
			for _, args := range [][]string{{"run", kit.Image, "id"}, {"gc"}, {"grant"}} {
				r := w.run(t, slices.Concat([]string{"run", "attack-self", command}, args)...)
				if r.Code == 0 || r.Out != "" {
					t.Errorf("%s %v: %+v", command, args, r)
				}
			}
		}
		if checksum(t, w.path()) != before {
			t.Error("the binary has changed")
		}
	})
}

func checksum(t *testing.T, name string) [32]byte {
	t.Helper()
	data, err := os.ReadFile(name)
	kit.Must(t, err)
	return sha256.Sum256(data)
}

func TestI05SetuidPrograms(t *testing.T) {
	everyMode(t, func(t *testing.T, w way) {
		kit.Change(t, "attack-setuid", "cp usr/bin/id usr/bin/rootid; chmod 6755 usr/bin/rootid; cp usr/bin/id usr/bin/capid; setcap cap_setuid,cap_sys_admin,cap_dac_override=ep usr/bin/capid")
		dir := home(t, kit.User)
		kit.Must(t, exec.Command("sh", "-ec", fmt.Sprintf("cp /usr/bin/id %s/rootid; chmod 6755 %s/rootid; cp /usr/bin/id %s/capid; setcap cap_setuid=ep %s/capid", dir, dir, dir, dir)).Run())
		for _, program := range []string{"/usr/bin/rootid", "/usr/bin/capid", dir + "/rootid", dir + "/capid", "/usr/bin/su", "/usr/bin/newgrp", "/usr/bin/passwd"} {
			r := w.run(t, "run", "attack-setuid", program)
			if strings.Contains(r.Out, "uid=0") || strings.Contains(r.Out, "egid=0") || strings.Contains(r.Out, "euid") {
				t.Errorf("%s: %+v", program, r)
			}
			r = w.run(t, "run", "attack-setuid", "sh", "-c", "cp "+program+" /tmp/x 2>/dev/null; chmod 4755 /tmp/x; /tmp/x; grep -h Cap /proc/self/status | tr -d '0\\n'")
			if strings.ContainsAny(strings.Join(strings.Fields(r.Out)[max(0, len(strings.Fields(r.Out))-5):], ""), "123456789abcdef") && strings.Contains(r.Out, "euid") {
				t.Errorf("%s copied: %+v", program, r)
			}
		}
	})
}

func TestI06Devices(t *testing.T) {
	everyMode(t, func(t *testing.T, w way) {
		kit.Change(t, "attack-devices", "mknod -m 666 srv/null c 1 3; mknod -m 666 srv/mem c 1 1; mknod -m 666 srv/disk b 7 0; mknod -m 666 srv/kmsg c 1 11")
		r := w.run(t, "run", "attack-devices", "sh", "-c", "for d in null mem disk kmsg; do cat /srv/$d >/dev/null 2>&1 && echo read $d; ( echo x >/srv/$d ) 2>/dev/null && echo wrote $d; done; mknod /tmp/null c 1 3 && echo made; mknod /dev/shm/x b 7 0 && echo made; true")
		if r.Code != 0 || r.Out != "" {
			t.Errorf("%+v", r)
		}
		r = w.inside(t, "ls /dev | tr '\\n' ' '")
		if r.Out != "console fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero " {
			t.Errorf("/dev has %s", r.Out)
		}
	})
}

func TestI07SignalsAndProcesses(t *testing.T) {
	everyMode(t, func(t *testing.T, w way) {
		victim := kit.As(t, kit.User, "sleep", "61.7")
		kit.Must(t, victim.Start())
		defer func() { _ = victim.Process.Kill(); _ = victim.Wait() }()
		pid := victim.Process.Pid
		r := w.inside(t, fmt.Sprintf("kill -9 -1; kill -9 %d; ls -d /proc/[0-9]* | wc -l; ls /proc/%d; strace -p %d 2>/dev/null; cat /proc/*/cmdline 2>/dev/null | tr '\\0' ' '", pid, pid, pid))
		if strings.Contains(r.Out, "61.7") {
			t.Errorf("the host's process is visible: %+v", r)
		}
		w.inside(t, "kill -9 -1") // as the last thing
		if err := victim.Process.Signal(syscall.Signal(0)); err != nil {
			t.Errorf("the host's process is gone: %v", err)
		}
		other := w.cmd(t, "run", kit.Image, "sleep", "60")
		kit.Must(t, other.Start())
		supervisor := supervisorOf(t, other)
		w.inside(t, fmt.Sprintf("kill -9 -1; kill -9 %d; kill -9 $PPID; kill -9 1", supervisor))
		if kit.Eventually(t, "the other container lives", func() bool { return len(kit.Inits(t)) == 1 }); other.Process.Signal(syscall.Signal(0)) != nil && w.name != "sudo" {
			t.Error("another container's supervisor is gone")
		}
		_ = syscall.Kill(supervisor, syscall.SIGTERM)
		_ = other.Wait()
	})
}

func TestI08IPC(t *testing.T) {
	kit.Must(t, os.WriteFile("/dev/shm/mayfly-attack", []byte("x"), 0o666))
	defer os.Remove("/dev/shm/mayfly-attack")
	out, err := exec.Command("ipcmk", "-M", "4096", "-S", "1", "-Q", "-p", "0666").CombinedOutput()
	kit.Must(t, err)
	defer func() {
		for line := range strings.Lines(string(out)) {
			f := strings.Fields(line)
			kind := map[string]string{"Shared": "-m", "Message": "-q", "Semaphore": "-s"}[f[0]]
			_ = exec.Command("ipcrm", kind, f[len(f)-1]).Run()
		}
	}()
	everyMode(t, func(t *testing.T, w way) {
		r := w.inside(t, "ls /dev/shm /dev/mqueue; ipcs | grep -c 0x; echo x >/dev/shm/inside; ipcmk -M 100 >/dev/null")
		if strings.Contains(r.Out, "mayfly-attack") || !strings.Contains(r.Out, "\n0\n") {
			t.Errorf("%+v", r)
		}
		if _, err := os.Stat("/dev/shm/inside"); err == nil {
			t.Error("/dev/shm is the host's")
		}
	})
}

// The network is the host's, unless asked: what listens there can be reached, abstract
// sockets included. docs/security.md says so.
func TestI09AbstractSockets(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		listener := kit.As(t, kit.User, helper, "listen")
		stdout, err := listener.StdoutPipe()
		kit.Must(t, err)
		kit.Must(t, listener.Start())
		defer func() { _ = listener.Process.Kill(); _ = listener.Wait() }()
		_, err = stdout.Read(make([]byte, 6))
		kit.Must(t, err)
		if r := w.help(t, "connect"); r.Out != "connect OK\n" {
			t.Errorf("the host's network: %+v", r)
		}
		host, err := os.Readlink("/proc/self/ns/net")
		kit.Must(t, err)
		if r := w.inside(t, "readlink /proc/self/ns/net"); strings.TrimSpace(r.Out) != host {
			t.Errorf("network namespace %s, the host's is %s", r.Out, host)
		}
		rule(t, strings.Replace(kit.AllModes, `"host", "none", "private"`, `"none"`, 1))
		refused(t, "a network that the rule does not name", w.run(t, "run", "--network", "host", kit.Image, "true"), "--network host: not allowed")
		if r := w.help(t, "connect"); r.Out == "connect OK\n" {
			t.Errorf("without a network: %+v", r)
		}
	})
}

func TestI10Keyrings(t *testing.T) {
	everyMode(t, func(t *testing.T, w way) {
		r := w.help(t, "calls")
		for _, want := range []string{"keyctl EPERM\n", "add_key EPERM\n", "request_key EPERM\n"} {
			if !strings.Contains(r.Out, want) {
				t.Errorf("no %q in %s", want, r.Out)
			}
		}
		if r := w.inside(t, "cat /proc/keys /proc/key-users"); strings.Contains(r.Out, "keyring") {
			t.Errorf("keys are visible: %+v", r)
		}
	})
}

// Containers that take what they can, all at once: each is ended by the policy's time
// limit, its memory file systems and descriptors are bounded, the host answers, nothing
// is left.
func TestI11TakingAll(t *testing.T) {
	takeAll := func(t *testing.T, w way) {
		rule(t, allow+"limits.time = \"4s\"\n")
		commands := map[string]*exec.Cmd{}
		for what, script := range map[string]string{
			"a fork bomb":             "b() { b | b & }; b; sleep 60",
			"descriptors":             "ulimit -n 4096; i=3; while :; do eval \"exec $i</dev/null\" 2>/dev/null || break; i=$((i+1)); [ $i -gt 9 ] && i=3; done; sleep 60",
			"ignored signals":         "trap '' TERM INT HUP; while :; do sleep 1; done",
			"a million files":         "i=0; while mkdir /tmp/$i 2>/dev/null; do i=$((i+1)); done; sleep 60",
			"a loop of writes":        "while :; do dd if=/dev/zero of=/run/x bs=64k count=100 2>/dev/null; dd if=/dev/zero of=/tmp/x bs=64k count=100 2>/dev/null; done",
			"children that daemonise": "while :; do setsid sleep 100 & sleep 0.01; done",
		} {
			limit := "limit=NPROC=4000:4000"
			if what == "a fork bomb" {
				limit = "limit=NPROC=400:400" // the caller's own limit on processes bounds it
			}
			commands[what] = w.start(t, []string{limit}, "run", "--kill-after", "1s", kit.Image, "sh", "-c", script)
			kit.Must(t, commands[what].Start())
		}
		if r := kit.DoWithin(t, kit.Within(10*time.Second), exec.Command("true")); r.Code != 0 {
			t.Errorf("the host: %+v", r)
		}
		for what, cmd := range commands {
			_ = cmd.Wait()
			if code := kit.Code(cmd.ProcessState); code != 124 {
				t.Errorf("%s: exit %d", what, code)
			}
		}
		kit.Eventually(t, "all their processes are gone", func() bool { return len(kit.Inits(t)) == 0 })
		// Memory file systems have bounds, in bytes and in files.
		r := w.inside(t, "df --output=target,size,itotal /tmp /var/tmp /run /dev/shm /dev | tail -n +2")
		for line := range strings.Lines(r.Out) {
			if f := strings.Fields(line); len(f) != 3 || f[1] == "0" || f[2] == "0" || f[1] == "-" || f[2] == "-" {
				t.Errorf("no bound: %s", line)
			}
		}
	}
	eachWaiting(t, takeAll)
	furtherModes(t, takeAll)
}

func TestI12Survivors(t *testing.T) {
	everyMode(t, func(t *testing.T, w way) {
		const survivor = `(trap "" HUP TERM INT QUIT; setsid sh -c "exec 0<&- 1>&- 2>&-; (trap \"\" HUP TERM; sleep 62.8) & exit" & ) ; sleep 0.2; echo done`
		if r := w.inside(t, survivor); r.Out != "done\n" || r.Code != 0 {
			t.Errorf("%+v", r)
		}
		if exec.Command("pgrep", "-f", "sleep 62.8").Run() == nil {
			t.Error("the survivor survived")
		}
	})
}

func TestI13Conventions(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Log("x86 has three conventions, this machine has one")
		return
	}
	everyMode(t, func(t *testing.T, w way) {
		r := w.help(t, "compat")
		want := map[string][]string{
			// -1 EPERM, -38 ENOSYS; a kernel without x32 knows none of its numbers.
			"int80 mount": {"-1"}, "int80 unknown": {"-38"}, "x32 mount": {"-1", "-38"}, "x32 unknown": {"-38"}, "x64 mount": {"-1"},
		}
		if kit.Emulated() { // a kernel without 32-bit emulation ends who tries it
			t.Logf("no int 0x80 on this kernel: %+v", r)
			return
		}
		if strings.Count(r.Out, "\n") != len(want) {
			t.Fatalf("%+v", r)
		}
		for line := range strings.Lines(r.Out) {
			i := strings.LastIndexByte(line, ' ')
			if !slices.Contains(want[line[:i]], strings.TrimSpace(line[i:])) {
				t.Errorf("%s, want %v", strings.TrimSpace(line), want[line[:i]])
			}
		}
	})
}

func TestI15Subvolumes(t *testing.T) {
	everyMode(t, func(t *testing.T, w way) {
		for _, flags := range [][]string{nil, {"--writable"}} {
			for _, path := range []string{"/", "/srv", "/proc/self/root", "/proc/1/cwd"} {
				args := slices.Concat([]string{"run", "--bind-ro", helper + ":/mnt/helper"}, flags, []string{kit.Image, "/mnt/helper", "subvolumes", path})
				r := w.run(t, args...)
				if strings.Contains(r.Out, " OK") || strings.Count(r.Out, "\n") != 12 {
					t.Errorf("%v %s: %+v", flags, path, r)
				}
			}
		}
		if !kit.OnBTRFS() {
			return
		}
		out, err := exec.Command("btrfs", "subvolume", "list", kit.Store).Output()
		kit.Must(t, err)
		if strings.Contains(string(out), "mayfly\n") && strings.Contains(string(out), "/mayfly\n") {
			t.Errorf("subvolumes: %s", out)
		}
	})
}

func TestI16LinksAcrossMounts(t *testing.T) {
	everyMode(t, func(t *testing.T, w way) {
		dir := home(t, kit.User)
		write(t, filepath.Join(dir, "file"), "x")
		kit.Must(t, exec.Command("chown", "-R", kit.User, dir).Run())
		for _, flags := range [][]string{nil, {"--writable"}} {
			r := w.inside(t, "cd "+dir+"; ln file /tmp/link; ln file /srv/link; ln /etc/debian_version link; ln /etc/passwd link; ln /opt link; ls -A /tmp; ls", flags...)
			if r.Out != "file\n" {
				t.Errorf("%v: %+v", flags, r)
			}
			for _, pair := range [][2]string{{"/tmp", dir + "/out"}, {dir, "/tmp/out"}, {"/dev/shm", dir + "/out"}, {"/", dir + "/out"}} {
				r := w.run(t, slices.Concat([]string{"run", "--bind-ro", helper + ":/mnt/helper"}, flags, []string{kit.Image, "/mnt/helper", "nameless", pair[0], pair[1]})...)
				if strings.Contains(r.Out, "OK") || r.Out == "" {
					t.Errorf("%v %v: %+v", flags, pair, r)
				}
			}
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("in the bind: %v, %v", entries, err)
		}
	})
}

func TestI17OddThingsInImages(t *testing.T) {
	everyMode(t, func(t *testing.T, w way) {
		nest, flatten := "btrfs -q subvolume create srv/nested", []string{"btrfs", "-q", "subvolume", "delete"}
		if !kit.OnBTRFS() { // there, what is not a part of the copy can only be mounted
			nest, flatten = "mkdir srv/nested; mount -t tmpfs tmpfs srv/nested", []string{"umount"}
		}
		kit.Change(t, "attack-odd", nest+"; echo x >srv/nested/file; mkfifo -m 666 srv/fifo; mkdir srv/point; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"srv/socket\")' 2>/dev/null || true")
		point := filepath.Join(kit.Store, "attack-odd", "srv", "point")
		kit.Must(t, exec.Command("mount", "-t", "tmpfs", "tmpfs", point).Run())
		kit.Must(t, os.WriteFile(filepath.Join(point, "mounted"), nil, 0o644))
		r := w.run(t, "run", "attack-odd", "sh", "-c", "ls /srv/nested /srv/point; [ -p /srv/fifo ] && echo fifo")
		kit.Must(t, exec.Command("umount", point).Run())
		// What is mounted or nested there is not a part of the snapshot: empty
		// directories.
		if r.Out != "/srv/nested:\n\n/srv/point:\nfifo\n" {
			t.Errorf("%+v", r)
		}
		flatten = append(flatten, filepath.Join(kit.Store, "attack-odd", "srv", "nested"))
		kit.Must(t, exec.Command(flatten[0], flatten[1:]...).Run())
	})
}

// Nobody becomes root inside but by --root, by no user namespace of their own.
func TestI18RootInside(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		for _, script := range []string{"unshare -U id -u", "unshare -Ur id -u", "unshare --map-root-user true", "setpriv --reuid 0 true", "su -c true </dev/null"} {
			if r := w.inside(t, script); r.Code == 0 {
				t.Errorf("%s: %+v", script, r)
			}
		}
		// A setuid file on a bind that is made inside is of no use outside but to its
		// owner.
		dir := home(t, kit.User)
		r := w.inside(t, "cp /usr/bin/id "+dir+"/id; chmod 6755 "+dir+"/id; chown root "+dir+"/id; stat -c %U "+dir+"/id")
		if r.Out != kit.User+"\n" {
			t.Errorf("%+v", r)
		}
	})
	t.Run("not let", func(t *testing.T) {
		rule(t, strings.Replace(kit.AllModes, "root-inside = true", "", 1))
		refused(t, "--root", ways[0].inside(t, "true", "--root"), "--root: not allowed by the policy")
	})
	// Root inside has power over files of mapped ids and over nothing else, and nobody
	// outside has power over it.
	t.Run("root", func(t *testing.T) {
		rule(t, kit.AllModes)
		w, dir, other := ways[0], home(t, kit.User), home(t, kit.Other)
		write(t, filepath.Join(dir, "secret"), "secret")
		kit.Must(t, os.Chmod(filepath.Join(dir, "secret"), 0o600)) // root's
		kit.Must(t, errors.Join(os.Chmod(other, 0o700), os.Chmod(dir, 0o755), os.Chmod("/home/"+kit.User, 0o755)))
		for _, script := range []string{"cat " + dir + "/secret", "chown root " + dir + "/secret", "chmod 666 " + dir + "/secret", "ls " + other, "chown root " + other,
			"touch /home/x", "ls -l /proc/1/root/", "kill -9 1", "mknod " + dir + "/sda b 8 0", "setfattr -n trusted.x -v 1 " + dir} {
			if r := w.inside(t, script, "--root", "--writable"); r.Code == 0 {
				t.Errorf("%s: %+v", script, r)
			}
		}
		// The host's own program, since the image may be for another machine.
		kit.Must(t, exec.Command("cp", "/usr/bin/id", dir+"/hosts").Run())
		if r := w.inside(t, "cp "+dir+"/hosts "+dir+"/id; chown "+kit.User+" "+dir+"/id; chmod 6755 "+dir+"/id; chown 0 "+dir+"/id; chmod 6755 "+dir+"/id", "--root"); r.Code != 0 {
			t.Fatalf("%+v", r)
		}
		r := kit.Do(t, kit.As(t, kit.Other, dir+"/id", "-u"))
		if r.Out == "0\n" || r.Code != 0 {
			t.Errorf("a setuid program made inside: %+v", r)
		}
		// The caller, outside, is not the owner of the namespace: not a way around what
		// the container may not do.
		cmd := w.cmd(t, "run", "--quiet", "--root", "--name", "i18", kit.Image, "sleep", "628")
		kit.Must(t, cmd.Start())
		defer func() { _ = cmd.Wait() }()
		defer kit.Run(t, "kill", "i18")
		var pid string
		kit.Eventually(t, "it sleeps", func() bool {
			out, err := exec.Command("pgrep", "-f", "^sleep 628").Output()
			pid = strings.TrimSpace(string(out))
			return err == nil
		})
		for _, args := range [][]string{{"nsenter", "-t", pid, "-U", "true"}, {"kill", "-9", pid}, {"ls", "/proc/" + pid + "/root/"}, {"cat", "/proc/" + pid + "/environ"}} {
			if r := kit.Do(t, kit.As(t, kit.User, args...)); r.Code == 0 {
				t.Errorf("%q outside: %+v", args, r)
			}
		}
	})
}
