// Package parity asks the same questions inside systemd-nspawn, with the command
// line that Mayfly replaces, and inside a run: the answers are the same, or the
// difference is in the table with its reason.
package parity

import (
	"strings"
	"sync"
	"testing"

	"mayfly/integration/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// nspawn runs a script as systemd-nspawn did it.
func nspawn(t *testing.T, script string) kit.Result {
	t.Helper()
	return kit.Do(t, kit.Nspawn("--bind-ro=/etc/passwd", "--bind-ro=/etc/group", "--bind-ro=/opt", "--bind=/home",
		"--user="+kit.User, "--chdir=/home/"+kit.User, "--pipe", "/bin/sh", "-c", script))
}

// A probe is a shell script whose output and exit code are compared.
type probe struct {
	what   string
	script string
	ours   string // where it differs from nspawn's: what a run answers
	why    string // and the reason
	lately bool   // the same in later versions of nspawn than bookworm's
}

var probes = []probe{
	// Who.
	{what: "user id", script: "id -u"},
	{what: "group id", script: "id -g"},
	{what: "user name", script: "id -un"},
	{what: "supplementary groups", script: "id -G | tr ' ' '\\n' | sort"},
	{what: "group names", script: "id -Gn | tr ' ' '\\n' | sort"},
	{what: "real and effective ids", script: "grep -E '^(Uid|Gid)' /proc/self/status"},
	{what: "effective capabilities", script: "grep CapEff /proc/self/status"},
	{what: "permitted capabilities", script: "grep CapPrm /proc/self/status"},
	{what: "inheritable capabilities", script: "grep CapInh /proc/self/status"},
	{what: "ambient capabilities", script: "grep CapAmb /proc/self/status"},
	{what: "bounding set", script: "grep CapBnd /proc/self/status", ours: "CapBnd:\t0000000000000000\n",
		why: "nspawn keeps capabilities for a container's root, which a run does not have"},
	{what: "no_new_privs", script: "grep NoNewPrivs /proc/self/status", ours: "NoNewPrivs:\t1\n",
		why: "old images carry old setuid holes"},
	{what: "seccomp", script: "grep Seccomp: /proc/self/status"},
	// What machine.
	{what: "machine", script: "uname -m"},
	{what: "kernel name", script: "uname -s"},
	{what: "kernel release", script: "uname -r"},
	{what: "word size of programs", script: "getconf LONG_BIT"},
	{what: "Debian release", script: "cat /etc/debian_version"},
	{what: "dpkg architecture", script: "dpkg --print-architecture"},
	{what: "processors", script: "nproc"},
	{what: "host name is the container's", script: "hostname | grep -cE '^deb12-(i386|amd64)-(sealed-)?[0-9a-f]{16}$'"},
	{what: "host name resolves", script: "getent hosts $(hostname) >/dev/null; echo $?", ours: "0\n",
		why: "nspawn leaves the name to an NSS module that the image must have; a run writes /etc/hosts"},
	{what: "localhost resolves", script: "getent ahostsv4 localhost | head -1 | cut -d' ' -f1", ours: "127.0.0.1\n",
		why: "a minimal image has no /etc/hosts, and nspawn makes none"},
	{what: "time zone", script: "date +%Z"},
	// Environment and limits.
	{what: "HOME", script: "echo $HOME"},
	{what: "USER and LOGNAME", script: "echo $USER $LOGNAME"},
	{what: "PATH", script: "echo $PATH"},
	{what: "SHELL", script: "echo $SHELL", ours: "/bin/bash\n", why: "programs that open a shell use the user's own"},
	{what: "container variable", script: "echo $container", ours: "mayfly\n", why: "the name of the container manager"},
	{what: "umask", script: "umask"},
	{what: "working directory", script: "pwd"},
	{what: "stack limit", script: "ulimit -s"},
	{what: "core limit", script: "ulimit -c"},
	{what: "file size limit", script: "ulimit -f"},
	{what: "processes limit exists", script: "ulimit -u >/dev/null 2>&1 || ulimit -p >/dev/null; echo $?"},
	{what: "blocked signals", script: "grep SigBlk /proc/self/status"},
	{what: "ignored signals", script: "grep SigIgn /proc/self/status"},
	// Files.
	{what: "root directory", script: "ls / | sort"},
	{what: "root is read-only", script: "touch /x 2>&1; echo $?"},
	{what: "usr is read-only", script: "touch /usr/bin/x 2>&1; echo $?"},
	{what: "etc is read-only", script: "touch /etc/x 2>&1; echo $?"},
	{what: "var is read-only", script: "touch /var/x 2>&1; echo $?"},
	{what: "opt is read-only", script: "touch /opt/x 2>&1 >/dev/null; echo $?"},
	{what: "opt is the host's", script: "ls /opt | sort"},
	{what: "home is the host's", script: "ls /home | sort"},
	{what: "home is writable", script: "echo x > ~/parity-a && cat ~/parity-a && rm ~/parity-a"},
	{what: "owner of a file in home", script: "touch ~/parity-b && stat -c '%U %G %a' ~/parity-b && rm ~/parity-b"},
	{what: "passwd is the host's", script: "md5sum < /etc/passwd"},
	{what: "group is the host's", script: "md5sum < /etc/group"},
	{what: "passwd is read-only", script: "echo x >> /etc/passwd; echo $?"},
	{what: "tmp is writable", script: "echo x > /tmp/x && cat /tmp/x"},
	{what: "tmp is empty", script: "ls -A /tmp"},
	{what: "tmp's mode", script: "stat -c %a /tmp"},
	{what: "var tmp is writable", script: "echo x > /var/tmp/x && cat /var/tmp/x", ours: "x\n",
		why: "nspawn leaves it read-only, and programs that want large temporary files fail"},
	{what: "run is a tmpfs", script: "stat -f -c %T /run"},
	{what: "shm is writable", script: "echo x > /dev/shm/x && cat /dev/shm/x"},
	{what: "root's file system", script: "stat -f -c %T /"},
	{what: "resolv.conf has the host's name servers", script: "grep -c nameserver /etc/resolv.conf"},
	// Devices.
	{what: "null", script: "echo x > /dev/null && cat /dev/null; echo $?"},
	{what: "zero", script: "head -c 4 /dev/zero | od -An -tx1"},
	{what: "full", script: "echo x 2>&1 > /dev/full; echo $?"},
	{what: "random", script: "head -c 4 /dev/random | wc -c"},
	{what: "urandom", script: "head -c 4 /dev/urandom | wc -c"},
	{what: "device numbers", script: "stat -c '%n %t:%T %a' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty"},
	{what: "fd, stdin, stdout, stderr", script: "readlink /dev/fd /dev/stdin /dev/stdout /dev/stderr"},
	{what: "ptmx", script: "readlink /dev/ptmx"},
	{what: "pseudo-terminals work", script: "script -qec 'echo in a terminal' /dev/null </dev/null"},
	{what: "no disks", script: "ls /dev | grep -cE '^(sd|vd|nvme|loop|kvm|mem|kmsg)'"},
	{what: "mknod", script: "mknod /tmp/null c 1 3 2>&1; echo $?"},
	{what: "mqueue", script: "stat -f -c %T /dev/mqueue"},
	{what: "no terminal in a pipe", script: "tty"},
	// Processes.
	{what: "the command is not PID 1", script: "[ $$ != 1 ]; echo $?", ours: "0\n",
		why: "nspawn makes the command PID 1, with the duties of one; a run has a PID 1 of its own"},
	{what: "no process of the host", script: "ls /proc | grep -cE '^[0-9]+$' | awk '{ print ($1 < 9) }'"},
	{what: "PID 1 cannot be killed", script: "kill -9 1; sleep 0.1; echo alive"},
	{what: "exit code", script: "exit 42"},
	{what: "exit by signal", script: "kill -TERM $$; sleep 1", ours: "", why: "nspawn's command is PID 1, which a signal does not end"},
	{what: "orphans are reaped", script: "for i in 1 2 3; do sh -c 'sleep 0.05 & :'; done; sleep 0.3; ps -e 2>/dev/null | grep -c defunct; ls /proc | grep -cE '^[0-9]+$' | awk '{ print ($1 < 9) }'"},
	{what: "standard error is separate", script: "echo out; echo err >&2"},
	{what: "standard input ends", script: "cat; echo ended"},
	// Kernel settings.
	{what: "proc sys is read-only", script: "echo 1 > /proc/sys/kernel/panic; echo $?"},
	{what: "hostname cannot be set", script: "hostname evil 2>/dev/null; echo $?"},
	{what: "sysrq", script: "echo h > /proc/sysrq-trigger; echo $?"},
	{what: "sys is read-only", script: "echo x > /sys/kernel/mm/ksm/run; echo $?"},
	{what: "kcore is hidden", script: "head -c 4 /proc/kcore 2>/dev/null | wc -c"},
	{what: "keys are hidden", script: "wc -c < /proc/keys 2>/dev/null || echo 0", ours: "0\n", why: "OCI's list of masked paths has it: keys have no namespace", lately: true},
	{what: "mount", script: "mount -t tmpfs x /tmp >/dev/null 2>&1; [ $? != 0 ]; echo $?"},
	{what: "new user namespace", script: "unshare -U true 2>/dev/null; [ $? != 0 ]; echo $?", ours: "0\n",
		why: "nspawn allows it to unprivileged users; a run keeps that part of the kernel out of reach"},
	{what: "load average is readable", script: "test -s /proc/loadavg; echo $?"},
	{what: "memory information is readable", script: "grep -c MemTotal /proc/meminfo"},
	{what: "System V shared memory is private", script: "ipcs -m 2>/dev/null | grep -c '^0x'"},
	{what: "network is the host's", script: "cat /proc/net/dev | grep -c lo:"},
	// Programs.
	{what: "compiler", script: "echo 'int main(void) { return sizeof(void *); }' > /tmp/a.c && gcc -o /tmp/a /tmp/a.c && /tmp/a; echo $?"},
	{what: "32 or 64 bits of a compiled program", script: "echo 'int main;' > /tmp/a.c && gcc -c -o /tmp/a.o /tmp/a.c 2>/dev/null; od -An -tx1 -j4 -N1 /tmp/a.o"},
	{what: "a script with an interpreter", script: "printf '#!/bin/sh\\necho ran $1\\n' > ~/parity.sh; chmod +x ~/parity.sh; ~/parity.sh arg; rm ~/parity.sh"},
	{what: "perl", script: "perl -e 'print 2**31, \"\\n\"'"},
	{what: "locale", script: "locale charmap 2>/dev/null"},
}

func TestAnswersAreNspawnsOrDifferForAReason(t *testing.T) {
	compared := 0
	limit := make(chan struct{}, 2)
	var group sync.WaitGroup
	for _, p := range probes {
		if p.what == "root's file system" && !kit.OnBTRFS() {
			p.ours, p.why = "overlayfs\n", "nspawn runs on the other store"
		}
		compared++
		group.Add(1)
		limit <- struct{}{}
		go func() {
			defer func() { <-limit; group.Done() }()
			compare(t, p)
		}()
	}
	group.Wait()
	t.Logf("%d probes compared", compared)
	if compared < 60 {
		t.Errorf("%d probes, want 60 at least", compared)
	}
	kit.NothingLeft(t)
}

func compare(t *testing.T, p probe) {
	old := nspawn(t, p.script)
	ours := kit.Do(t, kit.As(t, kit.User, kit.Runtime, "run", kit.Image, "/bin/sh", "-c", p.script))
	same := old.Out == ours.Out && old.Code == ours.Code
	switch {
	case p.why == "" && !same:
		t.Errorf("%s: nspawn answers %d %q %q, a run %d %q %q", p.what, old.Code, old.Out, old.Err, ours.Code, ours.Out, ours.Err)
	case p.why != "" && same && !p.lately:
		t.Errorf("%s: both answer %q: the table says that they differ, because %s", p.what, old.Out, p.why)
	case p.why != "" && ours.Out != p.ours:
		t.Errorf("%s: a run answers %q, want %q", p.what, ours.Out, p.ours)
	}
}

func TestTheTableNamesAReasonForEveryDifference(t *testing.T) {
	for _, p := range probes {
		if (p.ours != "") && p.why == "" || strings.TrimSpace(p.script) == "" {
			t.Errorf("%s: incomplete", p.what)
		}
	}
}
