// Package launch tests what a run promises, through the real grant.
package launch

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mayfly/integration/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

func TestExitStatusIsTheCommandsOwn(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		err  string
	}{
		{[]string{"run", kit.Image, "true"}, 0, ""},
		{[]string{"run", kit.Image, "--", "false"}, 1, ""},
		{[]string{"run", kit.Image, "sh", "-c", "exit 77"}, 77, ""},
		{[]string{"run", kit.Image, "sh", "-c", "kill -TERM $$"}, 128 + 15, ""},
		{[]string{"run", kit.Image, "sh", "-c", "kill -KILL $$"}, 128 + 9, ""},
		{[]string{"run", "--timeout", "200ms", kit.Image, "sleep", "60"}, 124, "longer than its limit of 200ms"},
		{[]string{"run", "--timeout", "200ms", "--kill-after", "200ms", kit.Image, "sh", "-c", "trap : TERM; while :; do sleep 1; done"}, 124, "longer than its limit of 200ms"},
		{[]string{"run", kit.Image, "nosuchcommand"}, 127, "not found"},
		{[]string{"run", kit.Image, "/nosuch/command"}, 127, "not found"},
		{[]string{"run", kit.Image, ""}, 127, "not found"},
		{[]string{"run", kit.Image, "/etc"}, 126, "is a directory"},
		{[]string{"run", kit.Image, "/etc/passwd"}, 126, "permission denied"},
	} {
		r := kit.Run(t, c.args...)
		if r.Code != c.code || !strings.Contains(r.Err, c.err) || c.err == "" && r.Err != "" {
			t.Errorf("%v: exit %d, stderr %q; want %d, %q", c.args, r.Code, r.Err, c.code, c.err)
		}
	}
	kit.NothingLeft(t)
}

func TestBadInputIsOneLineAndLeavesNothing(t *testing.T) {
	long := strings.Repeat("x", 4096)
	for _, c := range []struct {
		args []string
		err  string // what the message must name
	}{
		{[]string{"run"}, "no image given"},
		{[]string{"run", kit.Image}, "no command given"},
		{[]string{"run", "nosuchimage", "true"}, "unknown image nosuchimage"},
		{[]string{"run", "..", "true"}, `image name ".."`},
		{[]string{"run", ".", "true"}, `image name "."`},
		{[]string{"run", ".mayfly", "true"}, `image name ".mayfly"`},
		{[]string{"run", "a/b", "true"}, `image name "a/b"`},
		{[]string{"run", "/etc", "true"}, `image name "/etc"`},
		{[]string{"run", long, "true"}, "longer than 64"},
		{[]string{"run", "a\nb\x1b[31m", "true"}, `image name "a\nb\x1b[31m"`},
		{[]string{"run", "ｄeb12", "true"}, "image name"},
		{[]string{"run", "--nosuchflag", kit.Image, "true"}, "--nosuchflag"},
		{[]string{"run", "--timeout", "1", kit.Image, "true"}, `--timeout "1": want a time`},
		{[]string{"nosuchcommand"}, "nosuchcommand"},
		{[]string{"run", "--tty", "--no-tty", kit.Image, "true"}, "exclude each other"},
		{[]string{"run", "--tty", kit.Image, "true"}, "terminal"},
		{[]string{"run", "--quiet", "--verbose", kit.Image, "true"}, "exclude each other"},
		{[]string{"run", "--timeout", "-1s", kit.Image, "true"}, "want more than 0"},
		{[]string{"run", "--no-ephemeral", kit.Image, "true"}, "only root"},
		{[]string{"run", "--user", "root", kit.Image, "true"}, "only root"},
		{[]string{"run", "--user", "0", kit.Image, "true"}, "only root"},
		{[]string{"run", "--user", "-1", kit.Image, "true"}, "unknown user"},
		{[]string{"run", "--user", "4294967295", kit.Image, "true"}, "unknown user"},
		{[]string{"run", "--store", "/tmp", kit.Image, "true"}, "only root"},
		{[]string{"run", "--bind", "/nosuch", kit.Image, "true"}, "/nosuch"},
		{[]string{"run", "--bind", "/root", kit.Image, "true"}, "permission denied"},
		{[]string{"run", "--bind", kit.Plain + ":/mnt", kit.Image, "true"}, "permission denied"},
		{[]string{"run", "--bind", "/proc/1/root:/mnt", kit.Image, "true"}, "bind source"},
		{[]string{"run", "--bind", "/proc:/mnt", kit.Image, "true"}, "/proc"},
		{[]string{"run", "--bind", "/dev/null:/mnt/x", kit.Image, "true"}, "neither a file nor a directory"},
		{[]string{"run", "--bind", "/tmp:/", kit.Image, "true"}, "root directory"},
		{[]string{"run", "--bind", "/tmp:/proc/x", kit.Image, "true"}, "/proc"},
		{[]string{"run", "--bind", "/tmp:/dev", kit.Image, "true"}, "/dev"},
		{[]string{"run", "--bind", "/tmp:/mnt/../proc", kit.Image, "true"}, `".."`},
		{[]string{"run", "--bind", "/tmp:relative", kit.Image, "true"}, "not absolute"},
		{[]string{"run", "--bind", "/tmp:/usr/bin/gcc", kit.Image, "true"}, "/usr/bin/gcc"},
		{[]string{"run", "--bind", "/etc/hostname:/usr", kit.Image, "true"}, "/usr"},
		{[]string{"run", "--bind", "/tmp:/home/nosuchhome/x", kit.Image, "true"}, "/home/nosuchhome"},
		{[]string{"run", "--bind", "/tmp:/mnt", "--bind", "/usr:/mnt", kit.Image, "true"}, "two mounts on /mnt"},
		{[]string{"run", "--bind", `/tmp\`, kit.Image, "true"}, "backslash"},
		{[]string{"run", "--tmpfs", "/mnt:size=lots", kit.Image, "true"}, "size"},
		{[]string{"run", "--tmpfs", "/mnt:nosuchoption", kit.Image, "true"}, "nosuchoption"},
		{[]string{"run", "--chdir", "relative", kit.Image, "true"}, "not an absolute path"},
		{[]string{"run", "--chdir", "/nosuch", kit.Image, "true"}, "/nosuch"},
		{[]string{"run", "--hostname", "under_score", kit.Image, "true"}, "RFC 1123"},
		{[]string{"run", "--hostname", long, kit.Image, "true"}, "64"},
		{[]string{"run", "--name", "a b", kit.Image, "true"}, `container name "a b"`},
		{[]string{"run", "--personality", "vax", kit.Image, "true"}, "vax"},
		{[]string{"run", "--personality", "arm64", kit.Image, "true"}, "this machine is"},
		{[]string{"run", "--env", "=x", kit.Image, "true"}, "has no name"},
		{[]string{"image", "create", "x"}, "only root"},
		{[]string{"image", "remove", kit.Image}, "only root"},
		{[]string{"store", "init"}, "only root"},
	} {
		r := kit.Run(t, c.args...)
		if r.Code != 125 {
			t.Errorf("%.60q: exit %d, want 125", c.args, r.Code)
		}
		if strings.Count(r.Err, "\n") != 1 || !strings.HasPrefix(r.Err, "runtime: ") || !strings.Contains(r.Err, c.err) {
			t.Errorf("%.60q: stderr %q, want one line that has %q", c.args, r.Err, c.err)
		}
		if strings.ContainsAny(r.Err, "\x1b\a") || r.Out != "" {
			t.Errorf("%.60q: stdout %q, stderr %q", c.args, r.Out, r.Err)
		}
	}
	kit.NothingLeft(t)
}

func TestAScriptWithoutAnInterpreterLineIsTheShells(t *testing.T) {
	dir := scratch(t)
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write("build.sh", `echo "$0: $# $1"; exit 3`)
	write("-c", `echo "$0: $# $1"; exit 3`)
	for _, c := range []struct{ flags, command []string }{
		{nil, []string{"./build.sh", "a b"}},
		{nil, []string{dir + "/build.sh", "a b"}},
		{nil, []string{"../" + filepath.Base(dir) + "/-c", "a b"}},
		{[]string{"--env", "PATH=" + dir + ":/usr/bin"}, []string{"build.sh", "a b"}},
		{[]string{"--root"}, []string{"./build.sh", "a b"}},
	} {
		cmd := kit.As(t, kit.User, slices.Concat([]string{kit.Runtime, "run"}, c.flags, []string{kit.Image}, c.command)...)
		cmd.Dir = dir
		if r := kit.Do(t, cmd); r.Code != 3 || !strings.HasSuffix(r.Out, filepath.Base(c.command[0])+": 1 a b\n") || r.Err != "" {
			t.Errorf("%q: %+v", c, r)
		}
	}
}

func TestTheWorkingDirectoryByTheCallersNameForIt(t *testing.T) {
	const dir, link, other = "/srv/launch-dir", "/srv/launch-link", "/srv/launch-other"
	_, uid, gid := kit.Lookup(t, kit.User)
	for _, d := range []string{dir, other} {
		kit.Must(t, os.Mkdir(d, 0o755))
		kit.Must(t, os.Chown(d, int(uid), int(gid)))
		t.Cleanup(func() { _ = os.RemoveAll(d) })
	}
	kit.Must(t, os.WriteFile(dir+"/script", []byte("echo script"), 0o755))
	kit.Must(t, os.Symlink(dir, link))
	t.Cleanup(func() { _ = os.Remove(link) })
	for _, c := range []struct{ before, flags, command, want string }{
		{"cd " + link, "--bind " + link, "pwd", link},
		{"cd " + link, "--bind " + link, "./script", "script"},
		{"cd " + link, "--bind " + link + " --root", "pwd", link},
		{"cd " + link, "--bind " + link + " --root", "./script", "script"},
		{"cd " + link, "--bind " + link + " --bind " + dir, "pwd", dir},
		{"cd " + dir + "; PWD=" + other, "--bind " + other, "pwd", dir},
		{"cd " + dir + "; PWD=" + link + "/../launch-link", "--bind " + link, "pwd", link},
		{"cd " + dir + "; PWD=launch-link", "--bind " + link, "pwd", link},
		{"cd " + link, "", "pwd", dir},
	} {
		script := fmt.Sprintf("%s; export PWD; exec %s run %s %s %s", c.before, kit.Runtime, c.flags, kit.Image, c.command)
		r := kit.Do(t, kit.As(t, kit.User, "sh", "-c", script))
		if r.Code != 0 || r.Out != c.want+"\n" || r.Err != "" {
			t.Errorf("%s: %+v, want %s", script, r, c.want)
		}
	}
}

// TestAMountPointInAClosedHome: many systems make homes that only their owner may
// enter.
func TestAMountPointInAClosedHome(t *testing.T) {
	home := scratch(t)
	kit.Must(t, os.Chmod(home, 0o700))
	point := filepath.Join(home, "point")
	_, uid, gid := kit.Lookup(t, kit.User)
	kit.Must(t, os.Mkdir(point, 0o755))
	kit.Must(t, os.Chown(point, int(uid), int(gid)))
	kit.Must(t, os.WriteFile(filepath.Join(home, "file"), []byte("file\n"), 0o644))
	kit.Must(t, os.WriteFile(filepath.Join(point, "marker"), nil, 0o644))
	const show = "[ ! -e marker ] || echo marker; [ ! -e os-release ] || echo lib; head -c 5 ../file"
	for _, c := range []struct {
		flags []string
		want  string
	}{
		{[]string{"--bind", "."}, "marker\nfile\n"},
		{[]string{"--bind", ".", "--root"}, "marker\nfile\n"},
		{[]string{"--bind", ".", "--writable"}, "marker\nfile\n"},
		{[]string{"--bind-ro", "/usr/lib:" + point}, "lib\nfile\n"},
		{[]string{"--tmpfs", point}, "file\n"},
		{[]string{"--tmpfs", point, "--root"}, "file\n"},
		{[]string{"--bind", "/etc/passwd:" + home + "/file"}, "marker\nroot:"},
	} {
		for _, image := range []string{kit.Image, kit.Sealed} {
			cmd := kit.As(t, kit.User, slices.Concat([]string{kit.Runtime, "run"}, c.flags, []string{image, "sh", "-c", show})...)
			cmd.Dir = point
			if r := kit.Do(t, cmd); r.Code != 0 || r.Out != c.want || r.Err != "" {
				t.Errorf("%q of %s: %+v, want %q", c.flags, image, r, c.want)
			}
		}
	}
	for destination, want := range map[string]string{home + "/nosuch": "/nosuch", home + "/file": "the source is a directory"} {
		cmd := kit.As(t, kit.User, kit.Runtime, "run", "--bind", ".:"+destination, kit.Sealed, "true")
		cmd.Dir = point
		if r := kit.Do(t, cmd); r.Code != 125 || !strings.Contains(r.Err, want) {
			t.Errorf("%s: %+v, want %s", destination, r, want)
		}
	}
	kit.NothingLeft(t)
}

func TestHelpIsGivenBetweenArgumentsToo(t *testing.T) {
	for _, args := range [][]string{{"run", "--help"}, {"image", "history", kit.Image, "--help"}, {"image", "remove", "--help"}, {"policy", "explain", kit.Image, "-h"}} {
		if r := kit.Run(t, args...); r.Code != 0 || !strings.Contains(r.Out, "\nusage: runtime ") || r.Err != "" {
			t.Errorf("%q: %+v", args, r)
		}
	}
}

func TestWhoTheCommandIs(t *testing.T) {
	_, uid, _ := kit.Lookup(t, kit.User)
	outside := kit.Do(t, kit.As(t, kit.User, "id"))
	inside := kit.Inside(t, "id")
	if inside.Out != outside.Out {
		t.Errorf("id inside %q, outside %q", inside.Out, outside.Out)
	}
	r := kit.Root(t, "run", "--user", kit.User, "--chdir", "/", kit.Image, "sh", "-c", "id; grep ^Cap /proc/self/status")
	if !strings.HasPrefix(r.Out, outside.Out) || strings.Contains(r.Out, "1") && strings.Contains(r.Out, "ffffff") {
		t.Errorf("as root with --user: %q, want %q without capabilities", r.Out, outside.Out)
	}
	if r := kit.Inside(t, "echo $(id -u)", "--user", kit.User); strings.TrimSpace(r.Out) != fmt.Sprint(uid) {
		t.Errorf("--user with one's own name: %+v", r)
	}
}

// By the kernel or by an emulator, the machine of an image for 32 bits is one of 32
// bits.
func TestThirtyTwoBits(t *testing.T) {
	if r := kit.Run(t, "run", kit.I386, "sh", "-c", "uname -m; getconf LONG_BIT"); r.Out != "i686\n32\n" || r.Code != 0 {
		t.Errorf("%+v", r)
	}
}

func TestConfinement(t *testing.T) {
	status := kit.Inside(t, "cat /proc/self/status").Out
	for _, want := range []string{"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000",
		"CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(status, want) {
			t.Errorf("status lacks %q:\n%s", want, status)
		}
	}
	if r := kit.Inside(t, `[ $$ != 1 ] && [ "$(cat /proc/1/comm)" = mayfly-init ] && uname -m`); r.Out != kit.Machine+"\n" {
		t.Errorf("PID 1 and uname: %+v", r)
	}
	for _, script := range []string{
		"ls /proc/1/fd", "readlink /proc/1/exe", "readlink /proc/1/root", "cat /proc/1/mem", "cat /proc/1/environ",
		"touch /x", "touch /usr/x", "mkdir /dev/x", "echo 1 > /proc/sys/kernel/panic", "echo b > /proc/sysrq-trigger",
		"test -s /proc/keys", "test -s /proc/timer_list", "touch /opt/x", "touch /etc/hosts", "mount -t tmpfs x /tmp", "mknod /tmp/x c 1 3",
	} {
		if r := kit.Inside(t, script); r.Code == 0 {
			t.Errorf("%s: succeeded: %q", script, r.Out)
		}
	}
	if r := kit.Inside(t, "kill -9 1; kill -TERM 1; echo alive"); r.Out != "alive\n" {
		t.Errorf("PID 1 can be killed from inside: %+v", r)
	}
	hosts := strings.Count(readFile(t, "/proc/self/mountinfo"), "\n")
	if inside := strings.Count(kit.Inside(t, "cat /proc/self/mountinfo").Out, "\n"); inside > 60 {
		t.Errorf("%d mounts inside, the host has %d: has the old root been left in place?", inside, hosts)
	}
}

func TestInheritedDescriptorsAreNotVisibleInside(t *testing.T) {
	cmd := kit.As(t, kit.User, kit.Runtime, "run", kit.Image, "sh", "-c", "ls /proc/self/fd")
	directory, err := os.Open("/root")
	if err != nil {
		t.Fatal(err)
	}
	defer directory.Close()
	for range 100 {
		cmd.ExtraFiles = append(cmd.ExtraFiles, directory)
	}
	if r := kit.Do(t, cmd); r.Out != "0\n1\n2\n3\n" {
		t.Errorf("descriptors inside: %q", r.Out)
	}
}

func TestFlagsDoWhatTheySay(t *testing.T) {
	dir := t.TempDir()
	_, uid, gid := kit.Lookup(t, kit.User)
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	own := filepath.Join(dir, "with:colon")
	if err := os.Mkdir(own, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(own, int(uid), int(gid)); err != nil {
		t.Fatal(err)
	}
	escaped := strings.ReplaceAll(own, ":", `\:`)
	for _, c := range []struct {
		flags       []string
		script, out string
	}{
		{[]string{"--bind", escaped + ":/mnt"}, "echo x >/mnt/made && cat /mnt/made", "x\n"},
		{[]string{"--bind-ro", escaped + ":/mnt"}, "cat /mnt/made; touch /mnt/y 2>&1 | grep -o Read-only", "x\nRead-only\n"},
		{[]string{"--bind-ro", escaped + ":/new/deep/dir"}, "cat /new/deep/dir/made", "x\n"},
		{[]string{"--bind-ro", escaped + "/made:/new/file"}, "cat /new/file", "x\n"},
		{[]string{"--bind-ro", escaped + ":/opt"}, "ls /opt", "made\n"},
		{[]string{"--tmpfs", "/mnt:size=1m"}, "touch /mnt/a; df --output=size -k /mnt | tail -1 | tr -d ' '", "1024\n"},
		{[]string{"--env", "A=b c", "--env", "TERM"}, `echo "$A $TERM"`, "b c dumb\n"},
		{[]string{"--chdir", "/usr/bin"}, "pwd", "/usr/bin\n"},
		{[]string{"--hostname", "box.example"}, "hostname; tail -1 /etc/hosts; cat /etc/hostname", "box.example\n127.0.1.1\tbox.example\nbox.example\n"},
		{[]string{"--name", "my_name"}, "hostname", "my-name\n"},
		{[]string{"--personality", "x86-64"}, "cat /proc/self/personality", "00000000\n"},
		{nil, "cat /proc/self/personality", map[string]string{"i686": "00000008\n", "x86_64": "00000000\n"}[kit.Machine]},
		{[]string{"--writable"}, "echo kept > /var/tmp/x; cat /var/tmp/x; touch /usr/x 2>&1 | grep -o Perm", "kept\nPerm\n"},
		{nil, "pwd", "/home/" + kit.User + "\n"},
		{nil, "echo $HOME $USER $container", "/home/" + kit.User + " " + kit.User + " mayfly\n"},
	} {
		if r := kit.Inside(t, c.script, c.flags...); r.Out != c.out || r.Code != 0 {
			t.Errorf("%v %s: %+v, want %q", c.flags, c.script, r, c.out)
		}
	}
	kit.NothingLeft(t)
}

func TestEnvironmentIsClean(t *testing.T) {
	cmd := kit.As(t, kit.User, kit.Runtime, "run", kit.Image, "env")
	cmd.Env = append(cmd.Env, "SECRET=1", "LC_TIME=C", "CI=true", "LD_PRELOAD=/x.so", "GODEBUG=x=1", "TMPDIR=/nosuch")
	out := kit.Do(t, cmd).Out
	for _, want := range []string{"LC_TIME=C\n", "CI=true\n", "HOME=/home/" + kit.User + "\n", "container=mayfly\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("environment lacks %q:\n%s", want, out)
		}
	}
	for _, unwanted := range []string{"SECRET", "LD_PRELOAD", "GODEBUG", "TMPDIR"} {
		if strings.Contains(out, unwanted) {
			t.Errorf("environment has %s:\n%s", unwanted, out)
		}
	}
	cmd = kit.As(t, kit.User, kit.Runtime, "run", "--env-all", kit.Image, "env")
	cmd.Env = append(cmd.Env, "SECRET=1")
	if out := kit.Do(t, cmd).Out; !strings.Contains(out, "SECRET=1\n") {
		t.Errorf("--env-all lost a variable:\n%s", out)
	}
}

func TestRootMaintainsAnImage(t *testing.T) {
	const name = "launch-test"
	kit.Change(t, name, "true") // only to have a copy
	r := kit.Root(t, "run", "--no-ephemeral", "--chdir", "/", name, "sh", "-c", "touch /made && chown daemon:daemon /made && useradd -r newuser && id -u newuser >&2")
	if r.Code != 0 {
		t.Fatalf("maintenance: %+v", r)
	}
	r = kit.Run(t, "run", name, "stat", "-c", "%U", "/made")
	if r.Out != "daemon\n" {
		t.Errorf("the image does not have the change: %+v", r)
	}
	if r := kit.Root(t, "run", "--writable", name, "touch", "/gone"); r.Code != 0 {
		t.Errorf("--writable: %+v", r)
	}
	if _, err := os.Stat(filepath.Join(kit.Store, name, "gone")); err == nil {
		t.Error("a writable snapshot changed the image")
	}
	kit.NothingLeft(t)
}

func TestDryRunPrintsAPlanAndChangesNothing(t *testing.T) {
	r := kit.Run(t, "run", "--dry-run", "--bind-ro", "/usr/share:/mnt", kit.Image, "make", "all")
	var plan struct {
		Root struct{ Image string }
		Spec struct {
			Process struct{ Args []string }
			Mounts  []struct{ Destination string }
		}
	}
	if err := json.Unmarshal([]byte(r.Out), &plan); err != nil || r.Code != 0 {
		t.Fatalf("%v: %+v", err, r)
	}
	if plan.Root.Image != kit.Image || strings.Join(plan.Spec.Process.Args, " ") != "make all" || len(plan.Spec.Mounts) < 10 {
		t.Errorf("plan %+v", plan)
	}
	kit.NothingLeft(t)
}

func TestNspawnRunSpeaksTheOldWrappersWords(t *testing.T) {
	for _, c := range []struct {
		command, end string
		code         int
	}{
		{"exit 0", " exited successfully.\n", 0},
		{"exit 3", " failed with error code 3.\n", 3},
		{"kill -TERM $$", " terminated by signal TERM.\n", 143},
	} {
		r := kit.Do(t, kit.As(t, kit.User, kit.NspawnRun, "-n", kit.Image, "sh", "-c", c.command))
		lines := strings.SplitAfter(r.Err, "\n")
		var name, path string
		if n, _ := fmt.Sscanf(lines[0], "Spawning container %s on %s", &name, &path); n != 2 || !strings.HasPrefix(name, kit.Image+"-") || len(name) != len(kit.Image)+17 {
			t.Errorf("first line %q", lines[0])
		}
		if len(lines) != 3 || lines[1] != "Container "+name+c.end || r.Code != c.code {
			t.Errorf("%s: %+v", c.command, r)
		}
	}
	if r := kit.Inside(t, "exit 3"); r.Err != "" {
		t.Errorf("runtime run talks without a terminal: %q", r.Err)
	}
	if r := kit.Inside(t, "exit 3", "--verbose"); !strings.Contains(r.Err, "failed with error code 3.") {
		t.Errorf("--verbose: %q", r.Err)
	}
}

func TestSignalsReachTheCommand(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGCONT} {
		number := int(s)
		script := fmt.Sprintf("trap 'echo got; exit 9' %d; echo ready; while :; do sleep 0.05; done", number)
		cmd := kit.As(t, kit.User, kit.Runtime, "run", kit.Image, "sh", "-c", script)
		out := startAndAwait(t, cmd, "ready\n")
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if code := kit.Code(cmd.ProcessState); code != 9 || !strings.HasSuffix(out(), "got\n") {
			t.Errorf("signal %v: exit %d, output %q", s, code, out())
		}
	}
	kit.NothingLeft(t)
}

func TestKilledSupervisorTakesTheContainerAlong(t *testing.T) {
	cmd := kit.As(t, kit.User, kit.Runtime, "run", "--writable", kit.Image, "sh", "-c", "(setsid sleep 4321 &) ; echo ready; sleep 4321")
	startAndAwait(t, cmd, "ready\n")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	kit.Eventually(t, "all processes of the container are gone", func() bool {
		return len(kit.Inits(t)) == 0 && exec.Command("pgrep", "-f", "sleep 4321").Run() != nil
	})
	if len(kit.Snapshots(t, kit.Store)) != 1 {
		t.Errorf("snapshots after SIGKILL: %v, want the orphan", kit.Snapshots(t, kit.Store))
	}
	if r := kit.Inside(t, "true"); r.Code != 0 {
		t.Errorf("the next launch: %+v", r)
	}
	kit.NothingLeft(t) // the next launch has removed it, with its record
}

func TestGCSparesTheLiving(t *testing.T) {
	alive := kit.As(t, kit.User, kit.Runtime, "run", "--writable", "--name", "alive", kit.Image, "sh", "-c", "echo ready; read x; cat /etc/debian_version")
	stdin, err := alive.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out := startAndAwait(t, alive, "ready\n")
	dead := kit.As(t, kit.User, kit.Runtime, "run", "--writable", "--name", "dead", kit.Image, "sh", "-c", "echo ready; sleep 60")
	startAndAwait(t, dead, "ready\n")
	_ = dead.Process.Kill()
	_ = dead.Wait()
	kit.Eventually(t, "gc removes the orphan", func() bool {
		r := kit.Do(t, kit.As(t, kit.User, kit.Runtime, "gc"))
		return r.Out == "removed dead\n"
	})
	if left := kit.Snapshots(t, kit.Store); len(left) != 1 || !strings.Contains(left[0], ".alive.") {
		t.Errorf("snapshots %v", left)
	}
	if r := kit.Inside(t, "true", "--name", "alive"); r.Code != 125 || !strings.Contains(r.Err, "in use") {
		t.Errorf("a name that is taken: %+v", r)
	}
	stdin.Close()
	_ = alive.Wait()
	if !strings.HasPrefix(out(), "ready\n12.") {
		t.Errorf("the living lost its root: %q", out())
	}
	kit.NothingLeft(t)
}

func TestEverythingEndsWithTheCommand(t *testing.T) {
	began := time.Now()
	r := kit.Inside(t, "(trap '' HUP TERM; setsid sleep 8765 >/dev/null 2>&1 </dev/null &); sleep 0.1; echo done")
	if r.Out != "done\n" || time.Since(began) > 30*time.Second {
		t.Errorf("%+v after %v", r, time.Since(began))
	}
	if exec.Command("pgrep", "-f", "sleep 8765").Run() == nil {
		t.Error("a daemon outlived its container")
	}
}

func TestTwentyContainersOfOneImage(t *testing.T) {
	var group sync.WaitGroup
	for i := range 20 {
		group.Add(1)
		go func() {
			defer group.Done()
			script := fmt.Sprintf(`cd /tmp && echo 'int main(void) { return %d; }' > a.c && gcc -o a a.c && ./a; echo $?; ls /tmp`, i)
			want := fmt.Sprintf("%d\na\na.c\n", i)
			if r := kit.Inside(t, script); r.Out != want {
				t.Errorf("container %d: %+v", i, r)
			}
		}()
	}
	group.Wait()
	kit.NothingLeft(t)
}

func TestSignalsAtAnyMomentLeaveNothing(t *testing.T) {
	for i := range 60 {
		cmd := kit.As(t, kit.User, kit.Runtime, "run", kit.Image, "sleep", "0.01")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * 250 * time.Microsecond)
		_ = cmd.Process.Signal([]os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGKILL}[i%3])
		_ = cmd.Wait()
	}
	kit.Eventually(t, "gc finds nothing more", func() bool {
		kit.Root(t, "gc")
		return len(kit.Snapshots(t, kit.Store)) == 0 && len(kit.Inits(t)) == 0
	})
	kit.NothingLeft(t)
}

func TestWithoutTheGrantNothingIsHalfDone(t *testing.T) {
	copied := filepath.Join("/home", kit.User, "runtime-copy")
	data, err := os.ReadFile(kit.Runtime)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, data, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(copied)
	r := kit.Do(t, kit.As(t, kit.User, copied, "run", kit.Image, "true"))
	if r.Code != 125 || !strings.Contains(r.Err, "runtime grant") {
		t.Errorf("%+v", r)
	}
	kit.NothingLeft(t)
}

func TestWithoutProtectionOfPrivilegedMemoryNothingRuns(t *testing.T) {
	const setting = "/proc/sys/fs/suid_dumpable"
	before := readFile(t, setting)
	for value, code := range map[string]int{"0": 0, "1": 125, "2": 0} {
		if err := os.WriteFile(setting, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
		r := kit.Inside(t, "true")
		if err := os.WriteFile(setting, []byte(before), 0); err != nil {
			t.Fatal(err)
		}
		if r.Code != code || code != 0 && !strings.Contains(r.Err, "suid_dumpable") {
			t.Errorf("suid_dumpable %s: %+v, want exit %d", value, r, code)
		}
	}
}

// TestNothingPropagates: the mounts of a host are shared with one another where systemd
// has made them, and the container's are copies of some of them.
func TestNothingPropagates(t *testing.T) {
	script := `user=$1 runtime=$2; shift 2; mounts() { cut -d" " -f4- /proc/self/mountinfo | sort; }
cd /; before=$(mounts)
su "$user" -c "$runtime run --quiet --name shared $* -- sleep 60" &
until su "$user" -c "$runtime exec shared true" 2>/dev/null; do kill -0 $! || exit 1; sleep 0.05; done
during=$(mounts)
su "$user" -c "$runtime kill shared"; wait $!
echo "$before" | grep -c shared:
[ "$during" = "$before" ] && [ "$(mounts)" = "$before" ] || { echo "$before" >/tmp/before; echo "$during" | diff /tmp/before -; exit 1; }`
	for _, flags := range [][]string{{kit.Image}, {kit.Sealed}, {"--writable", kit.Sealed}, {"--bind", "/tmp:/mnt", kit.Image}, {"--bind", "/tmp:" + scratch(t), kit.Image}} {
		args := append([]string{"unshare", "--mount", "--propagation", "shared", "sh", "-c", script, "sh", kit.User, kit.Runtime}, flags...)
		if r := kit.Do(t, exec.Command(args[0], args[1:]...)); r.Code != 0 || r.Out == "0\n" {
			t.Errorf("%v: %+v", flags, r)
		}
	}
	kit.NothingLeft(t)
}

// TestWhatIsMountedLaterIsInWritableBinds: as an automounter does it, on a host whose
// mounts are shared, where the policy says so.
func TestWhatIsMountedLaterIsInWritableBinds(t *testing.T) {
	const dropIn = "/etc/mayfly/policy.d/00-launch.toml"
	kit.Must(t, os.MkdirAll(filepath.Dir(dropIn), 0o755))
	kit.Must(t, os.WriteFile(dropIn, []byte("bind-slave = true\n"+kit.AllModes), 0o644))
	t.Cleanup(func() { _ = os.Remove(dropIn) })
	dir := scratch(t)
	below := filepath.Join(dir, "below")
	kit.Must(t, os.Mkdir(below, 0o755))
	const script = `user=$1 runtime=$2 dir=$3; shift 3; cd /
inside() { su "$user" -c "$runtime exec later sh -c '$*'"; }
su "$user" -c "$runtime run --quiet --name later --bind-ro $dir:/mnt $* -- sleep 600" &
until inside true 2>/dev/null; do kill -0 $! || exit 1; sleep 0.05; done
mount -t tmpfs none "$dir/below" && touch "$dir/below/seen"
inside "echo writable: \$(ls $dir/below); echo read-only: \$(ls /mnt/below)"
umount "$dir/below" && inside "echo then: \$(ls $dir/below)"
su "$user" -c "$runtime kill later"; wait $!`
	for _, flags := range [][]string{{kit.Image}, {kit.Sealed}, {"--root", kit.Image}} {
		args := append([]string{"unshare", "--mount", "--propagation", "shared", "sh", "-c", script, "sh", kit.User, kit.Runtime, dir}, flags...)
		if r := kit.Do(t, exec.Command(args[0], args[1:]...)); r.Out != "writable: seen\nread-only:\nthen:\n" {
			t.Errorf("%v: %+v", flags, r)
		}
	}
	kit.NothingLeft(t)
}

func TestARunningContainerHoldsLittle(t *testing.T) {
	info, err := os.Stat(kit.Runtime)
	if err != nil || info.Size() > 8<<20 {
		t.Errorf("the binary has %d bytes, %v; want 8 MiB at most", info.Size(), err)
	}
	cmd := kit.As(t, kit.User, kit.Runtime, "run", kit.Image, "sh", "-c", "echo ready; read x")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	startAndAwait(t, cmd, "ready\n")
	defer func() { stdin.Close(); _ = cmd.Wait() }()
	inits := kit.Inits(t)
	if len(inits) != 1 {
		t.Fatalf("processes that are PID 1: %v", inits)
	}
	supervisor := fmt.Sprintf("/proc/%d/", cmd.Process.Pid)
	kit.Eventually(t, "supervisor and PID 1 have the same memory", func() bool {
		return readFile(t, supervisor+"maps") == readFile(t, "/proc/"+inits[0]+"/maps")
	})
	// Where the system gives huge pages to everybody, the heap is two of them: that is
	// 2 to 4 MiB more.
	kit.Eventually(t, "PSS of both without huge pages is 3 MiB at most", func() bool {
		text := readFile(t, supervisor+"smaps_rollup")
		return kib(t, text, "Pss")-kib(t, text, "AnonHugePages") <= 3<<10
	})
}

// startAndAwait starts a program and waits for its first output. The result
// returns all output so far.
func startAndAwait(t *testing.T, cmd *exec.Cmd, first string) func() string {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	cmd.Stdout = file
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	all := func() string { return readFile(t, file.Name()) }
	kit.Eventually(t, "the command is ready", func() bool { return strings.HasPrefix(all(), first) })
	return all
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// kib is a figure of smaps_rollup.
func kib(t *testing.T, text, name string) int {
	t.Helper()
	_, text, _ = strings.Cut(text, "\n"+name+":")
	var n int
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// The program itself may be woken late (cmd/runtime/entryhurry.go); the command must not
// be.
func TestTheCommandHasTheCallersTimerSlack(t *testing.T) {
	if r := kit.Inside(t, "cat /proc/self/timerslack_ns"); r.Out != "50000\n" {
		t.Errorf("%+v", r)
	}
}
