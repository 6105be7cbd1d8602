package attack

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/integration/kit"
)

func TestC01ArgumentZero(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		for _, state := range [][]string{{"argc0"}, {"argv0="}, {"argv0=runtime-init"}, {"argv0=mayfly-init"}, {"argv0=/proc/self/exe"}, {"argv0=../../x\n"}} {
			r := kit.Do(t, w.start(t, state, "nosuchcommand"))
			if r.Code == 0 || r.Out != "" {
				t.Errorf("%v: %+v", state, r)
			}
		}
		if w.name == "sudo" {
			return // sudo chooses what the binary sees
		}
		r := kit.Do(t, w.start(t, []string{"argv0=/x/nspawn-run"}, "-n", kit.Image, "id", "-u"))
		_, uid, _ := kit.Lookup(t, kit.User)
		if strings.TrimSpace(r.Out) != fmt.Sprint(uid) {
			t.Errorf("by the name of the old wrapper: %+v", r)
		}
	})
}

func TestC02ClosedStandardDescriptors(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		out := filepath.Join(home(t, kit.User), "state")
		for _, closed := range []string{"0", "1", "2", "01", "12", "02", "012"} {
			_ = os.Remove(out)
			r := kit.Do(t, w.start(t, []string{"close=" + closed}, "run", "--bind-ro", helper+":/mnt/helper", kit.Image, "sh", "-c", "exec /mnt/helper state 9>"+out))
			data, err := os.ReadFile(out)
			if err != nil || r.Code != 0 {
				t.Errorf("%s closed: %+v, %v", closed, r, err)
				continue
			}
			for line := range strings.Lines(string(data)) {
				f := strings.Fields(line)
				if f[0] != "fd" {
					continue
				}
				number, _ := strconv.Atoi(f[1])
				if number > 2 && number != 9 {
					t.Errorf("%s closed: descriptor %s inside", closed, line)
				}
				if strings.Contains(closed, f[1]) && f[2] != "/dev/null" && w.name != "sudo" {
					t.Errorf("%s closed: %s on its place", closed, line)
				}
			}
		}
	})
}

func TestC03InheritedDescriptors(t *testing.T) {
	root, err := os.Open("/root")
	kit.Must(t, err)
	defer root.Close()
	each(t, func(t *testing.T, w way) {
		for _, flags := range [][]string{nil, {"--chdir", "/proc/self/fd/3"}, {"--chdir", "/proc/self/fd/500"}} {
			cmd := w.cmd(t, append(append([]string{"run"}, flags...), kit.Image, "sh", "-c", "ls /proc/self/fd; ls .")...)
			for range 1000 {
				cmd.ExtraFiles = append(cmd.ExtraFiles, root)
			}
			r := kit.Do(t, cmd)
			if flags != nil {
				refused(t, strings.Join(flags, " "), r, "/proc/self/fd")
			} else if !strings.HasPrefix(r.Out, "0\n1\n2\n3\n") || strings.Contains(r.Out, "\n4\n") {
				t.Errorf("descriptors inside: %+v", r)
			}
		}
		if w.name == "sudo" {
			return // which closes them itself
		}
		terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
		kit.Must(t, err)
		defer terminal.Close()
		place, err := unix.Open("/root", unix.O_PATH|unix.O_CLOEXEC, 0)
		kit.Must(t, err)
		for what, file := range map[string]*os.File{"directory": root, "O_PATH": os.NewFile(uintptr(place), "place"),
			"neither": terminal, "of the kernel's": open(t, "/proc/self/ns/net")} {
			for _, count := range []string{"1", "2", "256"} {
				cmd := w.cmd(t, "run", "--preserve-fds", count, kit.Image, "true")
				for range 256 {
					cmd.ExtraFiles = append(cmd.ExtraFiles, file)
				}
				refused(t, what, kit.Do(t, cmd), what)
			}
		}
	})
}

func open(t *testing.T, name string) *os.File {
	t.Helper()
	file, err := os.Open(name)
	kit.Must(t, err)
	t.Cleanup(func() { file.Close() })
	return file
}

func TestC04WorkingDirectory(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		switching := []string{"setpriv", "--reuid", kit.User, "--regid", kit.User, "--init-groups"}
		if w.name == "ambient" {
			capabilities := "+sys_admin,+setuid,+setgid,+setpcap"
			if !kit.OnBTRFS() {
				capabilities += ",+chown,+dac_override,+fowner,+fsetid"
			}
			switching = append(switching, "--inh-caps", capabilities, "--ambient-caps", capabilities)
		}
		// As root, so that the directory can be one that the user may not enter.
		from := func(enter string, flags ...string) kit.Result {
			args := append(append(w.args(append([]string{"run"}, flags...)...), kit.Image), "sh", "-c", "pwd; ls /root 2>&1; ls .")
			cmd := exec.Command("sh", append([]string{"-ec", enter + `; exec "$@"`, "sh"}, append(switching, args...)...)...)
			cmd.Env = []string{"HOME=/home/" + kit.User, "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
			return kit.Do(t, cmd)
		}
		for _, enter := range []string{
			"cd /root", "cd /proc/self/fd", "mkdir /root/attack; cd /root/attack; rmdir /root/attack", "cd /var/lib/machines/.mayfly",
			"exec 5</root; cd /proc/self/fd/5",
		} {
			refused(t, enter, from(enter), "working directory")
		}
		for _, dir := range []string{"../../../..", "/home/../../../root", "/proc/1/cwd", "/proc/1/root", "/proc/self/fd/0"} {
			refused(t, dir, from("cd /", "--chdir", dir), "")
		}
	})
}

// sudo says that the caller is root, in whose home nothing of the caller's is.
func TestWhateverTheGrantTheEnvironmentNamesTheCaller(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		r := w.run(t, "run", kit.Image, "sh", "-c", "echo $HOME $USER $LOGNAME $SHELL; test -w $HOME")
		if want := fmt.Sprintf("/home/%[1]s %[1]s %[1]s /bin/bash\n", kit.User); r.Out != want || r.Code != 0 {
			t.Errorf("%+v, want %q", r, want)
		}
	})
}

func TestC05Environment(t *testing.T) {
	hostile := []string{"GODEBUG=inittrace=1,schedtrace=1,gctrace=1,sbrk=1,asyncpreemptoff=1,execerrdot=0,netdns=cgo,fips140=only", "GOTRACEBACK=crash",
		"GOGC=1", "GOMAXPROCS=1000", "GOMEMLIMIT=1", "GOCOVERDIR=/tmp", "GORACE=log_path=/tmp/x", "LD_PRELOAD=/tmp/evil.so", "LD_LIBRARY_PATH=/tmp", "LD_AUDIT=/tmp/evil.so",
		"TMPDIR=/root", "PATH=/tmp/evil", "LOCPATH=/tmp", "TZ=:/root/secret", "TZDIR=/root", "NSS_FILES=/x", "SUDO_UID=0", "SUDO_GID=0", "container=x"}
	each(t, func(t *testing.T, w way) {
		cmd := w.cmd(t, "run", kit.Image, "sh", "-c", "id -u; env | cut -d= -f1 | sort | tr '\\n' ' '")
		cmd.Env = append(cmd.Env, hostile...)
		r := kit.Do(t, cmd)
		_, uid, _ := kit.Lookup(t, kit.User)
		lines := strings.Split(r.Out, "\n")
		if r.Code != 0 || r.Err != "" || lines[0] != fmt.Sprint(uid) {
			t.Fatalf("%+v", r)
		}
		for _, name := range strings.Fields(lines[1]) {
			if strings.HasPrefix(name, "GO") || strings.HasPrefix(name, "LD_") || strings.HasPrefix(name, "SUDO") || name == "TMPDIR" {
				t.Errorf("%s is inside", name)
			}
		}
		cmd = w.cmd(t, "image", "list")
		cmd.Env = append(cmd.Env, hostile...)
		if r := kit.Do(t, cmd); r.Code != 0 || r.Err != "" {
			t.Errorf("image list: %+v", r)
		}
	})
}

// A time zone is a file: the caller's TZ must not have root open one.
func TestC05TimeZone(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		fifo := filepath.Join(home(t, kit.User), "fifo")
		kit.Must(t, syscall.Mkfifo(fifo, 0o600)) // root's: who opens it waits for ever, or may not
		cmd := w.cmd(t, "run", kit.Image, "true")
		cmd.Env = append(cmd.Env, "TZ="+fifo)
		if r := kit.Do(t, cmd); r.Code != 0 {
			t.Errorf("%+v", r)
		}
		cmd = w.cmd(t, "image", "list")
		cmd.Env = append(cmd.Env, "TZ="+fifo)
		if r := kit.Do(t, cmd); r.Code != 0 {
			t.Errorf("image list: %+v", r)
		}
	})
}

func TestC05WhatPassesIsWhole(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		if w.name == "sudo" {
			return // sudo has its own idea of what passes
		}
		cmd := w.cmd(t, "run", "--env-all", kit.Image, "env")
		cmd.Env = append(cmd.Env, "GOFLAGS=-x", "GO=1", "G=2")
		r := kit.Do(t, cmd)
		for _, want := range []string{"\nGOFLAGS=-x\n", "\nGO=1\n", "\nG=2\n"} {
			if !strings.Contains(r.Out, want) {
				t.Errorf("--env-all lost %q: %q", want, r.Out)
			}
		}
	})
}

func TestC06ResourceLimits(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		for _, c := range []struct {
			limit string
			works bool // the launch does not notice it
		}{
			{"NPROC=1:1", false}, {"NOFILE=3:3", false}, {"FSIZE=0:0", false}, {"AS=33554432:33554432", false}, {"DATA=1:1", false},
			{"STACK=16384:-1", false}, {"STACK=-1:-1", true}, {"CORE=-1:-1", true}, {"MEMLOCK=0:0", true},
			// Soft ones alone do no harm to the launcher.
			{"FSIZE=0:-1", true}, {"CPU=100:-1", true},
		} {
			r := kit.Do(t, w.start(t, []string{"limit=" + c.limit}, "run", kit.Image, "true"))
			if c.works && r.Code != 0 {
				t.Errorf("%s: %+v", c.limit, r)
			}
			if r.Code != 0 && r.Err == "" && r.Code < 128 {
				t.Errorf("%s: fails without a word: %+v", c.limit, r)
			}
		}
		if w.name == "sudo" {
			return // sudo sets limits of its own
		}
		// The command has the caller's limits, the launcher lives by its own.
		r := kit.Do(t, w.start(t, []string{"limit=AS=400000000:-1", "limit=FSIZE=7168:-1", "limit=DATA=300000000:-1", "limit=NPROC=3000:9000"},
			"run", kit.Image, "sh", "-c", "ulimit -v; ulimit -f; ulimit -d; grep processes /proc/self/limits | tr -s ' '"))
		if want := "390625\n14\n292968\nMax processes 3000 9000 processes \n"; r.Out != want {
			t.Errorf("limits inside %+v, want %q", r, want)
		}
	})
}

func TestC06NoCoreOfAPrivilegedProcess(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		dir := home(t, kit.User)
		for _, signal := range []syscall.Signal{syscall.SIGSEGV, syscall.SIGABRT, syscall.SIGBUS, syscall.SIGTRAP} {
			cmd := w.start(t, []string{"limit=CORE=-1:-1"}, "run", kit.Image, "sleep", "5")
			cmd.Dir = dir
			kit.Must(t, cmd.Start())
			supervisor := supervisorOf(t, cmd)
			_ = syscall.Kill(supervisor, signal)
			_ = cmd.Wait()
			if cores, err := os.ReadDir(dir); err != nil || len(cores) > 0 {
				t.Errorf("%v: %v, %v", signal, cores, err)
			}
		}
		gc(t)
	})
}

// supervisorOf waits until a call has a container, and finds the process that
// supervises it: the call itself, or what sudo started. A PID 1 that another supervisor
// has left may be about to die.
func supervisorOf(t testing.TB, cmd *exec.Cmd) (supervisor int) {
	t.Helper()
	kit.Eventually(t, "there is a container", func() bool {
		for _, init := range kit.Inits(t) {
			supervisor = parentOf(init)
			for p := supervisor; p > 1; p = parentOf(strconv.Itoa(p)) {
				if p == cmd.Process.Pid {
					return true
				}
			}
		}
		return false
	})
	return supervisor
}

// parentOf is a process's parent, 0 where there is no such process any more.
func parentOf(pid string) int {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	parent, _ := strconv.Atoi(strings.Fields(rest)[1])
	return parent
}

func TestC07Umask(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		const script = `umask; stat -c '%a %u %g %n' / /tmp /var/tmp /run /run/lock /dev /dev/shm /dev/null /proc /new /new/deep /new/deep/dir /etc/hosts /etc/hostname /made/tmpfs`
		var before string
		for _, mask := range []string{"022", "0", "0777", "077"} {
			dir := home(t, kit.User)
			r := kit.Do(t, w.start(t, []string{"umask=" + mask}, "run", "--bind", dir+":/new/deep/dir", "--tmpfs", "/made/tmpfs", kit.Image, "/bin/sh", "-c", script))
			own, modes, _ := strings.Cut(r.Out, "\n")
			if want := fmt.Sprintf("%04s", mask); own != want && w.name != "sudo" {
				t.Errorf("umask inside is %s, want %s", own, want)
			}
			if before == "" {
				before = modes
			}
			if modes != before || r.Code != 0 {
				t.Errorf("with umask %s: %+v, want %q", mask, r, before)
			}
		}
		cmd := w.start(t, []string{"umask=0"}, "run", kit.Image, "sleep", "60")
		kit.Must(t, cmd.Start())
		supervisor := supervisorOf(t, cmd)
		found, err := filepath.Glob("/run/mayfly/*/[^.=]*")
		if err != nil || len(found) != 1 {
			t.Fatalf("records %v, %v", found, err)
		}
		for name, want := range map[string]os.FileMode{found[0]: 0o600, filepath.Dir(found[0]): 0o700, "/run/mayfly": 0o755} {
			info, err := os.Stat(name)
			kit.Must(t, err)
			if info.Mode().Perm() != want || info.Sys().(*syscall.Stat_t).Uid != 0 {
				t.Errorf("%s has mode %v", name, info.Mode())
			}
		}
		_ = syscall.Kill(supervisor, syscall.SIGTERM)
		_ = cmd.Wait()
	})
}

func TestC08SignalsAndTimers(t *testing.T) {
	// The timer goes off after the binary's beginning, which disarms it, and before the
	// command has ended.
	alarm := kit.Within(100 * time.Millisecond)
	each(t, func(t *testing.T, w way) {
		out := filepath.Join(home(t, kit.User), "state")
		inside := []string{"run", "--bind-ro", helper + ":/mnt/helper", kit.Image, "sh", "-c", fmt.Sprintf("sleep %g; exec /mnt/helper state 9>%s", 3*alarm.Seconds(), out)}
		for _, state := range [][]string{{"block"}, {"ignore"}, {"block", "ignore"}, {fmt.Sprintf("alarm=%d", alarm.Milliseconds())}, {"ignore", "alarm=1"}} {
			if w.name == "sudo" && len(state) > 0 && strings.HasPrefix(state[len(state)-1], "alarm") {
				continue // it is sudo that the timer ends
			}
			_ = os.Remove(out)
			r := kit.Do(t, w.start(t, state, inside...))
			data, err := os.ReadFile(out)
			if err != nil || r.Code != 0 {
				t.Errorf("%v: %+v, %v", state, r, err)
				continue
			}
			// An ignored SIGHUP, which is nohup's, stays.
			if text := string(data); !strings.Contains(text, "SigBlk:\t0000000000000000\n") ||
				!strings.Contains(text, "SigIgn:\t0000000000000000\n") && !strings.Contains(text, "SigIgn:\t0000000000000001\n") {
				t.Errorf("%v: inside %s", state, text)
			}
		}
		// Signals reach the command all the same.
		cmd := w.start(t, []string{"block", "ignore"}, "run", kit.Image, "sleep", "60")
		kit.Must(t, cmd.Start())
		_ = syscall.Kill(supervisorOf(t, cmd), syscall.SIGTERM)
		_ = cmd.Wait()
		if code := kit.Code(cmd.ProcessState); code != 128+15 {
			t.Errorf("SIGTERM: exit %d", code)
		}
	})
}

func TestC09StoppedAndKilledAtAnyMoment(t *testing.T) {
	together(t, func(t *testing.T, w way) {
		for i := range kit.Rounds(100, 500) {
			cmd := w.cmd(t, "run", kit.Image, "sleep", "0.01")
			kit.Must(t, cmd.Start())
			time.Sleep(kit.Within(time.Duration(i*7919%40000) * time.Microsecond))
			switch i % 3 {
			case 0:
				_ = cmd.Process.Signal(syscall.SIGSTOP)
				time.Sleep(kit.Within(2 * time.Millisecond))
				_ = cmd.Process.Signal(syscall.SIGCONT)
			case 1:
				_ = cmd.Process.Kill()
			default:
				_ = cmd.Process.Signal(syscall.SIGINT)
			}
			_ = cmd.Wait()
		}
	})
	gc(t)
	kit.NothingLeft(t)
}

func TestC10LookingIntoTheLauncher(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		cmd := w.cmd(t, "run", kit.Image, "sleep", "60")
		kit.Must(t, cmd.Start())
		supervisor := supervisorOf(t, cmd)
		for _, pid := range append(kit.Inits(t), strconv.Itoa(supervisor)) {
			if r := kit.Do(t, kit.As(t, kit.User, helper, "peek", pid)); r.Out != "" {
				t.Errorf("process %s can be looked into by %s", pid, r.Out)
			}
		}
		_ = syscall.Kill(supervisor, syscall.SIGTERM)
		_ = cmd.Wait()
		if w.name == "sudo" {
			return // before the binary begins, the process is sudo's
		}
		// At every moment of the launch. Before the binary is executed the process is
		// the caller's own: then its name is another.
		for i := range kit.Rounds(25, 100) {
			cmd := w.cmd(t, "run", kit.Image, "true")
			kit.Must(t, cmd.Start())
			time.Sleep(kit.Within(time.Duration(i*200*kit.Patience) * time.Microsecond))
			pid := strconv.Itoa(cmd.Process.Pid)
			r := kit.Do(t, kit.As(t, kit.User, helper, "peek", pid))
			if strings.ContainsAny(strings.ReplaceAll(r.Out, "exe ", ""), "abcdefghijklmnopqrstuvwxyz") {
				t.Errorf("moment %d: %s", i, r.Out)
			}
			_ = cmd.Wait()
		}
		gc(t)
	})
}

// A thread that exits has no memory any more that could be called not dumpable, but for
// a moment it still has its descriptors: nor may they be had then.
func TestC10StealingFromTheDying(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		for i := range kit.Rounds(25, 100) {
			cmd := w.cmd(t, "run", kit.Image, "sleep", "60")
			kit.Must(t, cmd.Start())
			supervisor := supervisorOf(t, cmd)
			var stolen bytes.Buffer
			thief := kit.As(t, kit.User, helper, "thieve", strconv.Itoa(supervisor))
			thief.Stdout = &stolen
			kit.Must(t, thief.Start())
			time.Sleep(kit.Within(20 * time.Millisecond))
			_ = syscall.Kill(supervisor, []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[i%2])
			_ = cmd.Wait()
			_ = thief.Wait()
			if stolen.Len() > 0 {
				t.Fatalf("round %d: descriptors of %s", i, stolen.String())
			}
			kit.Eventually(t, "the container has ended", func() bool { return len(kit.Inits(t)) == 0 })
		}
		gc(t)
	})
}
