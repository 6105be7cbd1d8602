// Package rootinside tests --root: what root of a user namespace can do in a container,
// and what it cannot.
package rootinside

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mayfly/integration/kit"
)

// podman has each probe asked of podman too.
var podman = flag.Bool("podman", false, "ask podman the same")

func TestMain(m *testing.M) {
	flag.Parse()
	const dropIn = "/etc/mayfly/policy.d/00-rootinside.toml"
	if os.Getenv("MAYFLY_INTEGRATION") != "" {
		if err := os.WriteFile(dropIn, []byte(kit.AllModes), 0o644); err != nil {
			fmt.Println("FAIL:", err)
			os.Exit(1)
		}
	}
	kit.Main(m, func() { os.Remove(dropIn) })
}

// A probe is a shell script that root inside runs in a writable snapshot, and what it
// prints.
type probe struct {
	what, script, want string
}

// denied prints what it is about when a command fails.
const denied = `denied() { "$@" >/dev/null 2>&1 && echo "done: $*" || echo denied; }; `

var probes = []probe{
	// What a build, a package and their maintainer expect of root.
	{"who", "id -u; id -g; id -un; id -Gn | tr ' ' '\\n' | head -n 1; echo $HOME $USER $MAYFLY_USER", "0\n0\nroot\nroot\n/root root " + kit.User + "\n"},
	{"the system's files are root's", "stat -c %U:%G / /etc/shadow /usr/bin/passwd /var/log", "root:root\nroot:shadow\nroot:root\nroot:root\n"},
	{"file systems in memory are root's", "stat -c %U:%G /tmp /var/tmp /run /dev/shm", "root:root\nroot:root\nroot:root\nroot:root\n"},
	{"a new file", "touch /usr/bin/new && stat -c %U:%G /usr/bin/new", "root:root\n"},
	{"a secret of root's", "wc -l </etc/shadow | grep -c .", "1\n"},
	{"chown", "touch /srv/f; chown daemon:mail /srv/f; stat -c %U:%G /srv/f", "daemon:mail\n"},
	{"chown to the highest id", "touch /srv/f; chown 65535:65535 /srv/f && stat -c %u:%g /srv/f", "65535:65535\n"},
	{"chmod of another's file", "touch /srv/f; chown daemon /srv/f; chmod 4711 /srv/f; stat -c %a /srv/f", "4711\n"},
	{"a link's owner", "ln -s x /srv/l; chown -h daemon /srv/l; stat -c %U /srv/l", "daemon\n"},
	{"useradd and su", "useradd --create-home --home-dir /srv/newone --shell /bin/sh newone && su - newone -c 'id -un; touch f; stat -c %U f; pwd'", "newone\nnewone\n/srv/newone\n"},
	{"groupadd and setgid directory", "groupadd grp && mkdir /srv/d && chgrp grp /srv/d && chmod 2775 /srv/d && touch /srv/d/f && stat -c %G /srv/d/f", "grp\n"},
	{"setpriv", "setpriv --reuid=daemon --regid=daemon --clear-groups id", "uid=1(daemon) gid=1(daemon) groups=1(daemon)\n"},
	{"user nobody cannot write", "setpriv --reuid=nobody --regid=nogroup --clear-groups sh -c 'touch /etc/x' 2>/dev/null; echo $?", "1\n"},
	{"chroot", "mkdir -p /srv/r/bin; cp /bin/true /srv/r/bin; cp -L --parents $(ldd /bin/true | grep -o '/[^ ]*') /srv/r/; chroot /srv/r /bin/true; echo $?", "0\n"},
	{"a FIFO", "mknod /srv/p p; test -p /srv/p; echo $?", "0\n"},
	{"dpkg", "mkdir -p /tmp/p/DEBIAN /tmp/p/usr/bin; printf 'Package: p\\nVersion: 1\\nArchitecture: all\\nMaintainer: x\\nDescription: x\\n' >/tmp/p/DEBIAN/control; " +
		"printf '#!/bin/sh\\nchown daemon /usr/bin/p; adduser --system p >/dev/null 2>&1 || useradd --system p\\n' >/tmp/p/DEBIAN/postinst; chmod 755 /tmp/p/DEBIAN/postinst; touch /tmp/p/usr/bin/p; " +
		"dpkg-deb --root-owner-group -b /tmp/p /tmp/p.deb >/dev/null && dpkg -i /tmp/p.deb >/dev/null && stat -c %U /usr/bin/p && id -un p; dpkg -r p >/dev/null; ls /usr/bin/p 2>&1 | grep -c 'No such'", "daemon\np\n1\n"},
	{"kill another user's process", "setpriv --reuid=daemon --clear-groups sleep 60 & sleep 0.3; kill $!; wait $!; echo $?", "143\n"},
	{"file capabilities", "cp /bin/true /srv/t; perl -e 'my ($f, $n, $v) = (\"/srv/t\", \"security.capability\", pack(\"V5\",0x02000001,1<<13,0,0,0)); " +
		"syscall($ARGV[0]+0, $f, $n, $v, 20, 0)==0 or die $!' $(test $(getconf LONG_BIT) = 64 && echo 188 || echo 226) && echo set; /srv/t; echo $?", "set\n0\n"},

	// What it must not be.
	{"mount", denied + "denied mount -t tmpfs x /mnt; denied mount --bind /tmp /mnt; denied mount -o remount,rw /sys; denied umount /proc", "denied\ndenied\ndenied\ndenied\n"},
	{"device nodes", denied + "denied mknod /srv/sda b 8 0; denied mknod /dev/mem c 1 1; denied mknod /tmp/kmsg c 1 11", "denied\ndenied\ndenied\n"},
	{"kernel modules", denied + "denied perl -e 'exit(syscall($^V && 313, 0, \"\", 0) != 0)'; denied modprobe loop", "denied\ndenied\n"},
	{"namespaces", denied + "denied unshare --mount true; denied unshare --user true; denied unshare --net true; denied nsenter --target 1 --mount true", "denied\ndenied\ndenied\ndenied\n"},
	{"the host's name and clock", denied + "denied hostname mine; denied date -s '2001-01-01'", "denied\ndenied\n"},
	{"kernel settings", denied + "denied sh -c 'echo 1 >/proc/sys/kernel/panic'; denied sh -c 'echo b >/proc/sysrq-trigger'; denied sh -c 'echo 1 >/sys/kernel/mm/ksm/run'; denied dmesg --clear", "denied\ndenied\ndenied\ndenied\n"},
	{"PID 1", denied + "denied kill -9 1; denied ls /proc/1/root/; denied cat /proc/1/mem; denied ls /proc/1/fd/", "denied\ndenied\ndenied\ndenied\n"},
	{"priority and limits", denied + "denied nice -n -5 true; ulimit -Hc 0; denied sh -c 'ulimit -Hc 1'", "done: nice -n -5 true\ndenied\n"},
	{"swap, quota, accounting", denied + "denied swapon /srv/f; denied accton /srv/f; denied chattr +i /srv", "denied\ndenied\ndenied\n"},
	{"capabilities", "grep -E '^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'", "CapInh:0000000000000000\nCapPrm:00000000800401fb\nCapEff:00000000800401fb\nCapBnd:00000000800401fb\nCapAmb:0000000000000000\nNoNewPrivs:1\nSeccomp:2\n"},
	{"more ids", denied + "denied sh -c 'echo 0 0 1 >/proc/self/uid_map'; denied setpriv --reuid=70000 --clear-groups true", "denied\ndenied\n"},
	{"another user's home", denied + "denied ls /home/" + kit.Other + "/private; denied chown root /home/" + kit.Other, "denied\ndenied\n"},
}

func TestProbes(t *testing.T) {
	private := filepath.Join("/home", kit.Other, "private")
	kit.Must(t, os.Mkdir(private, 0o700))
	defer os.Remove(private)
	if *podman {
		kit.Command(t, "sh", "-ec", "tar -C "+kit.Plain+" -c . | podman import --quiet - mayfly-probes")
		defer kit.Command(t, "podman", "rmi", "mayfly-probes")
	}
	for _, p := range probes {
		t.Run(p.what, func(t *testing.T) {
			if p.what == "file capabilities" && !kit.OnBTRFS() {
				p.want = "0\n" // through an overlay they are set with the rights of whoever mounted it, who has no use for CAP_SETFCAP
			}
			r := kit.Inside(t, p.script, "--root", "--writable", "--chdir", "/")
			if r.Out != p.want {
				t.Errorf("%q, %q, want %q", r.Out, r.Err, p.want)
			}
			if *podman {
				r := kit.Do(t, exec.Command("podman", "run", "--rm", "--uidmap=0:1300000000:65536", "--gidmap=0:1300000000:65536", "--network=host", "--runtime=runc",
					"--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000", "mayfly-probes", "/bin/sh", "-c", p.script))
				t.Logf("podman differs: %v: %q, %q", r.Out != p.want, r.Out, r.Err)
			}
		})
	}
	kit.NothingLeft(t)
}

func TestIDsOfThePolicy(t *testing.T) {
	const dropIn = "/etc/mayfly/policy.d/00-ids.toml"
	t.Cleanup(func() { os.Remove(dropIn) })
	rule := func(user string, first uint32) string {
		return fmt.Sprintf("%susers = [%q]\nroot-ids = %d\n", kit.AllModes, user, first)
	}
	for what, c := range map[string]struct{ policy, want, problem string }{
		"one rule":                 {rule(kit.User, 1_200_000_000), "1200000000", ""},
		"two users":                {rule(kit.User, 1_200_000_000) + rule(kit.Other, 1_200_065_536), "1200000000", ""},
		"partly another rule's":    {rule(kit.User, 1_200_000_000) + rule(kit.Other, 1_200_065_535), "", "root-ids overlap those at " + dropIn},
		"another user's of subuid": {rule(kit.User, subordinateOf(t, kit.Other)), "", "partly another user's"},
	} {
		kit.Must(t, os.WriteFile(dropIn, []byte(c.policy), 0o644))
		r := kit.Inside(t, "head -n 1 /proc/self/uid_map", "--root", "--chdir", "/")
		if c.problem == "" && (r.Code != 0 || strings.Fields(r.Out)[1] != c.want) {
			t.Errorf("%s: %+v", what, r)
		}
		if c.problem != "" && (r.Code != 125 || !strings.Contains(r.Err, c.problem)) {
			t.Errorf("%s: %+v", what, r)
		}
	}
	kit.NothingLeft(t)
}

// subordinate is the first id that the host gives to the user of the tests.
func subordinate(t *testing.T) uint32 {
	t.Helper()
	return subordinateOf(t, kit.User)
}

// subordinateOf is the first id that the host gives to a user.
func subordinateOf(t *testing.T, name string) uint32 {
	t.Helper()
	text, err := os.ReadFile("/etc/subuid")
	kit.Must(t, err)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			first, err := strconv.ParseUint(rest[:strings.IndexByte(rest, ':')], 10, 32)
			kit.Must(t, err)
			return uint32(first)
		}
	}
	t.Fatal("no subordinate ids")
	return 0
}

// What root makes on a bind of the host's is a subordinate id's there, or the caller's
// where it is given to them; and is of no use to become root with.
func TestFilesOnABind(t *testing.T) {
	u, uid, gid := kit.Lookup(t, kit.User)
	dir := filepath.Join(u.HomeDir, "rootinside")
	kit.Must(t, os.Mkdir(dir, 0o755))
	kit.Must(t, os.Chown(dir, int(uid), int(gid)))
	defer os.RemoveAll(dir)
	r := kit.Run(t, "run", "--root", "--bind-ro", "/usr/bin/id:/mnt/hosts", "--chdir", dir, kit.Image, "sh", "-ec",
		"touch roots given; chown "+kit.User+":"+u.Gid+" given; echo x >>given; cp /mnt/hosts setuid; chmod 6755 setuid; stat -c %U "+u.HomeDir+"; stat -c %u:%g roots given")
	if want := fmt.Sprintf("%s\n0:0\n%d:%d\n", kit.User, uid, gid); r.Out != want || r.Code != 0 {
		t.Fatalf("%+v, want %q", r, want)
	}
	first := subordinate(t)
	for name, owner := range map[string]uint32{"roots": first, "given": uid, "setuid": first} {
		info, err := os.Stat(filepath.Join(dir, name))
		kit.Must(t, err)
		if got := info.Sys().(*syscall.Stat_t).Uid; got != owner {
			t.Errorf("%s belongs to %d, want %d", name, got, owner)
		}
	}
	out, err := exec.Command(filepath.Join(dir, "setuid"), "-u").Output()
	if err != nil || strings.TrimSpace(string(out)) != fmt.Sprint(first) {
		t.Errorf("the setuid program made inside runs as %q on the host: %v", out, err)
	}
}

// Modes and owners of the snapshot are those of the image for whoever looks at it as
// root of the host.
func TestASessionKeepsOwners(t *testing.T) {
	if r := kit.Run(t, "session", "begin", "--name", "rooted", kit.Image); r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	defer kit.Run(t, "session", "end", "rooted")
	for i, want := range []string{"root daemon\n", "root daemon\nroot daemon\n"} {
		r := kit.Run(t, "run", "--root", "--session", "rooted", "--chdir", "/", "sh", "-ec",
			"touch /usr/bin/root"+fmt.Sprint(i)+" /usr/bin/daemon"+fmt.Sprint(i)+"; chown daemon /usr/bin/daemon?; for n in /usr/bin/root?; do echo $(stat -c %U $n /usr/bin/daemon${n#/usr/bin/root}); done")
		if r.Out != want || r.Code != 0 {
			t.Errorf("%+v, want %q", r, want)
		}
	}
	if r := kit.Run(t, "run", "--session", "rooted", "--chdir", "/", "stat", "-c", "%U", "/usr/bin/root0", "/usr/bin/daemon1"); r.Out != "root\ndaemon\n" {
		t.Errorf("without --root: %+v", r)
	}
}

func TestJoining(t *testing.T) {
	cmd := kit.As(t, kit.User, kit.Runtime, "run", "--quiet", "--root", "--writable", "--name", "joinable", "--chdir", "/", kit.Image, "sh", "-c", "echo of root >/root/f; exec sleep 600")
	kit.Must(t, cmd.Start())
	kit.Eventually(t, "it runs", func() bool { return kit.Run(t, "exec", "joinable", "true").Code == 0 })
	if r := kit.Run(t, "exec", "joinable", "sh", "-c", "id -u; cat /root/f; chown daemon /root/f; pwd"); r.Out != "0\nof root\n/\n" || r.Code != 0 {
		t.Errorf("%+v", r)
	}
	if r := kit.Run(t, "exec", "--chdir", "/root", "joinable", "pwd"); r.Out != "/root\n" {
		t.Errorf("%+v", r)
	}
	if r := kit.Run(t, "exec", "--chdir", "/nowhere", "joinable", "pwd"); r.Code != 125 || !strings.Contains(r.Err, "change directory: no such file") {
		t.Errorf("%+v", r)
	}
	if r := kit.Run(t, "kill", "joinable"); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	if err := cmd.Wait(); kit.Code(cmd.ProcessState) != 143 {
		t.Errorf("%v", err)
	}
	kit.NothingLeft(t)
}

func TestSignalsAndTimeLimit(t *testing.T) {
	r := kit.Run(t, "run", "--root", "--timeout", "1s", "--kill-after", "1s", "--chdir", "/", kit.Image, "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
	if r.Code != 124 {
		t.Errorf("%+v", r)
	}
	if r := kit.Run(t, "run", "--root", "--chdir", "/", kit.Image, "sh", "-c", "kill -USR1 $$"); r.Code != 128+10 {
		t.Errorf("%+v", r)
	}
	kit.NothingLeft(t)
}

// Without --writable root inside is root of what cannot be changed, with the caller's
// name all the same.
func TestReadOnly(t *testing.T) {
	r := kit.Inside(t, "id -un "+kit.User+"; su "+kit.User+" -c 'id -un'; touch /usr/bin/x 2>&1 | grep -c Read-only; stat -c %U $HOME /etc/passwd", "--root", "--chdir", "/")
	if r.Code != 0 || r.Out != kit.User+"\n"+kit.User+"\n1\nroot\nroot\n" {
		t.Errorf("%+v", r)
	}
}

func TestWhereItStarts(t *testing.T) {
	u, _, _ := kit.Lookup(t, kit.User)
	if r := kit.Inside(t, "pwd", "--root"); r.Out != u.HomeDir+"\n" || r.Err != "" {
		t.Errorf("%+v", r)
	}
	cmd := kit.As(t, kit.User, kit.Runtime, "run", "--root", kit.Image, "pwd")
	cmd.Dir = "/mnt"
	if r := kit.Do(t, cmd); r.Out != "/mnt\n" {
		t.Errorf("%+v", r)
	}
	cmd = kit.As(t, kit.User, kit.Runtime, "run", "--root", kit.Image, "pwd")
	cmd.Dir = "/srv/rootinside-elsewhere"
	kit.Must(t, os.Mkdir(cmd.Dir, 0o755))
	defer os.Remove(cmd.Dir)
	if r := kit.Do(t, cmd); r.Out != cmd.Dir+"\n" || r.Err != "" {
		t.Errorf("%+v", r)
	}
	shell := kit.As(t, kit.User, kit.Runtime, "shell", "--root", kit.Image)
	shell.Dir, shell.Stdin = "/proc", strings.NewReader("pwd\n")
	if r := kit.Do(t, shell); r.Out != "/root\n" || !strings.Contains(r.Err, `"/proc" is not in the container`) {
		t.Errorf("%+v", r)
	}
}

// Who has no ids of their own is told how to get some; nobody has those of others.
func TestIDsThatWillNotDo(t *testing.T) {
	for _, file := range []string{"/etc/subuid", "/etc/subgid"} {
		before, err := os.ReadFile(file)
		kit.Must(t, err)
		defer func() { kit.Must(t, os.WriteFile(file, before, 0o644)) }()
		for text, problem := range map[string]string{
			"":                          file + " gives none",
			kit.User + ":100000:1000\n": "gives 1000 in a row, 65536 are needed",
			kit.User + ":100000:65536\n" + kit.Other + ":165535:1\n": "partly another user's",
			kit.User + ":500:65536\n":                                "the id of",
		} {
			kit.Must(t, os.WriteFile(file, []byte(text), 0o644))
			r := kit.Inside(t, "true", "--root")
			if r.Code != 125 || !strings.HasPrefix(r.Err, "runtime: --root: no subordinate ids for "+kit.User) || !strings.Contains(r.Err, problem) || strings.Count(r.Err, "\n") != 1 {
				t.Errorf("%q in %s: %+v, want %q", text, file, r, problem)
			}
		}
		kit.Must(t, os.WriteFile(file, before, 0o644))
	}
	if r := kit.Inside(t, "true", "--root", "--user", kit.User); r.Code != 125 || !strings.Contains(r.Err, "exclude each other") {
		t.Errorf("%+v", r)
	}
	kit.NothingLeft(t)
}

// The build that it is all for: a source package's dependencies are installed and it is
// built, in one run.
func TestASourcePackageWithItsBuildDependencies(t *testing.T) {
	u, uid, _ := kit.Lookup(t, kit.User)
	dir := filepath.Join(u.HomeDir, "rootinside-build")
	for _, args := range [][]string{{"mkdir", "-p", dir}} {
		if r := kit.Do(t, kit.As(t, kit.User, args...)); r.Code != 0 {
			t.Fatalf("%+v", r)
		}
	}
	defer os.RemoveAll(dir)
	cmd := kit.As(t, kit.User, kit.Runtime, "run", "--root", "--writable", "--chdir", dir, kit.Image, "sh", "-exc", `
export DEBIAN_FRONTEND=noninteractive
sed -n 's/^deb /deb-src /p' /etc/apt/sources.list >/etc/apt/sources.list.d/source.list
apt-get -q update
su `+kit.User+` -c 'apt-get -q source hostname'
apt-get -qy --no-install-recommends build-dep ./hostname-*/
apt-get -qy --no-install-recommends install fakeroot
su `+kit.User+` -c 'cd hostname-*/ && dpkg-buildpackage -b -us -uc'
dpkg -i ./hostname_*.deb
hostname --fqdn >/dev/null
echo installed`)
	r := kit.DoWithin(t, kit.Within(10*time.Minute), cmd)
	if r.Code != 0 || !strings.HasSuffix(r.Out, "installed\n") {
		t.Fatalf("exit %d\n%s\n%s", r.Code, tail(r.Out), tail(r.Err))
	}
	packages, err := filepath.Glob(filepath.Join(dir, "hostname_*.deb"))
	kit.Must(t, err)
	if len(packages) != 1 {
		t.Fatalf("%q", packages)
	}
	info, err := os.Stat(packages[0])
	kit.Must(t, err)
	if got := info.Sys().(*syscall.Stat_t).Uid; got != uid {
		t.Errorf("the package belongs to %d, want %d", got, uid)
	}
	kit.NothingLeft(t)
}

func tail(s string) string { return s[max(0, len(s)-4000):] }
