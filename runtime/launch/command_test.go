package launch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"mayfly/runtime/cgroup"
	"mayfly/runtime/control"
	"mayfly/runtime/plan"
	"mayfly/runtime/rootfs"
	"mayfly/runtime/status"
)

// write makes a file, with its mode whatever the mask of the test's process is.
func write(t *testing.T, name, content string, mode os.FileMode) string {
	t.Helper()
	if err := errors.Join(os.WriteFile(name, []byte(content), 0o600), os.Chmod(name, mode)); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestACommandIsLookedUpInItsOwnPath(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	write(t, filepath.Join(first, "plain"), "", 0o644)
	write(t, filepath.Join(second, "plain"), "", 0o755)
	write(t, filepath.Join(second, "tool"), "", 0o755)
	write(t, filepath.Join(first, "closed"), "", 0o644)
	if err := errors.Join(os.Mkdir(filepath.Join(first, "tool"), 0o755), os.Symlink("tool", filepath.Join(second, "link"))); err != nil {
		t.Fatal(err)
	}
	t.Chdir(second)
	path := first + ":" + second
	for _, c := range []struct {
		path, name, want string
		code             int
	}{
		{path, "tool", filepath.Join(second, "tool"), 0},   // a directory is no command
		{path, "plain", filepath.Join(second, "plain"), 0}, // nor is what cannot be executed
		{path, "link", filepath.Join(second, "link"), 0},
		{path, "closed", "", status.ExitNotExecutable},
		{path, "nosuch", "", status.ExitNotFound},
		{path, "", "", status.ExitNotFound},
		{"", "tool", "./tool", 0}, // an empty entry is the working directory
		{first + ":", "tool", "./tool", 0},
		{".", "tool", "./tool", 0},
		{"", "..", "", status.ExitNotFound},
		{path, "./nosuch", "./nosuch", 0}, // execve tells what is wrong
		{path, "/no/such", "/no/such", 0},
		{path, "a/b", "a/b", 0},
	} {
		got, err := lookUp(c.name, []string{"A=1", "PATH=" + c.path})
		var command *status.CommandError
		switch {
		case c.code == 0 && (err != nil || got != c.want):
			t.Errorf("%q in %q: %q, %v; want %q", c.name, c.path, got, err, c.want)
		case c.code != 0 && (!errors.As(err, &command) || command.Code != c.code || got != ""):
			t.Errorf("%q in %q: %q, %v; want code %d", c.name, c.path, got, err, c.code)
		}
	}
}

// threadProc is the directory of the test's process in procfs, for a launch's
// ThreadProc.
func threadProc(t *testing.T) int {
	t.Helper()
	fd, err := unix.Open("/proc/self", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func TestTheErrnoOfExecveIsSaidInWords(t *testing.T) {
	dir, proc := t.TempDir(), threadProc(t)
	file := write(t, filepath.Join(dir, "file"), "x", 0o755)
	dos := write(t, filepath.Join(dir, "dos"), "#!/bin/sh\r\necho\r\n", 0o755)
	orphan := write(t, filepath.Join(dir, "orphan"), "#!/no/such/interpreter -x\n", 0o755)
	for _, c := range []struct {
		file string
		err  error
		want string
		code int // 0: it is no error of the command's
	}{
		{filepath.Join(dir, "nosuch"), unix.ENOENT, "not found in the container", 127},
		{orphan, unix.ENOENT, "/no/such/interpreter is not in the container", 126},
		{dos, unix.ENOENT, "its lines end with CR LF", 126},
		{file, unix.ELOOP, "its interpreter is a script too", 126},
		{filepath.Join(dir, "nosuch"), unix.ELOOP, "not found in the container: too many levels", 127},
		{filepath.Join(file, "x"), unix.ENOTDIR, "not found in the container: not a directory", 127},
		{strings.Repeat("n", 300), unix.ENAMETOOLONG, "not found in the container: file name too long", 127},
		{dir, unix.EACCES, "is a directory", 126},
		{file, unix.EACCES, "permission denied", 126},
		{file, unix.ENOEXEC, "neither a program for this machine nor a script with #!", 126},
		{file, unix.E2BIG, "arguments and environment are too long", 126},
		{file, unix.EAGAIN, "is a process limit reached?", 0},
		{file, unix.ENOMEM, "is a process limit reached?", 0},
		{file, errors.New("clone: no"), "start " + file + ": clone: no", 0},
		{file, fmt.Errorf("change directory: %w", unix.ENOENT), "change directory", 0}, // of a step before execve
	} {
		err := whyNot(proc, c.file, nil, c.err)
		var command *status.CommandError
		if !strings.Contains(err.Error(), c.want) || errors.As(err, &command) != (c.code != 0) || command != nil && (command.Code != c.code || command.Command != c.file) {
			t.Errorf("%s, %v: %v, want %q with code %d", c.file, c.err, err, c.want, c.code)
		}
	}
	if err := whyNot(proc, file, []string{"/", "/no/such"}, fmt.Errorf("change directory: %w", unix.ENOENT)); !strings.Contains(err.Error(), "in /no/such: change directory: no such file") {
		t.Errorf("%v", err)
	}
	// A relative name is looked for where the command starts.
	if err := whyNot(proc, "./file", []string{"/", dir}, unix.ENOENT); !strings.Contains(err.Error(), "loader") {
		t.Errorf("%v", err)
	}
}

func TestAScriptWithoutAnInterpreterIsText(t *testing.T) {
	for data, want := range map[string]bool{
		"": true, "echo x\n": true, "\x00": false, "\x7fELF\x02\x01\x01\x00": false, strings.Repeat("x", 255) + "\x00": false, strings.Repeat("x", 256) + "\x00": true,
	} {
		if got := isText([]byte(data)); got != want {
			t.Errorf("%q: %v", data, got)
		}
	}
	if isText(nil) {
		t.Error("what could not be read is text")
	}
}

// newLaunch is one of a command that runs with the rights of the test, in its own root.
func newLaunch(t *testing.T, p *plan.Plan) *Launch {
	t.Helper()
	return &Launch{Builder: rootfs.Builder{Plan: p, ThreadProc: threadProc(t)}, Over: make(chan struct{}), forks: make(chan fork),
		Outside: Outside{Group: func() *cgroup.Group { return nil }, Warn: func(text string) { t.Errorf("warning: %s", text) }}}
}

func planOf(args ...string) *plan.Plan {
	return &plan.Plan{Spec: specs.Spec{Process: &specs.Process{Args: args, Env: []string{"PATH=/usr/bin:/bin", "HOME=/"}, Cwd: "/"}, Linux: &specs.Linux{}}}
}

// onThread calls f on a thread that gains nothing any more, as a launch's.
func onThread(f func()) error {
	done := make(chan error)
	go func() {
		goruntime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		if err == nil {
			f()
		}
		done <- err
	}()
	return <-done
}

// outputOf runs a plan's command, and returns what it has written and how it ended.
func outputOf(t *testing.T, p *plan.Plan) (string, status.End, error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	out := uintptr(w.Fd())
	l := newLaunch(t, p)
	var end status.End
	problem := onThread(func() {
		process, problem := l.startCommand(p, [3]uintptr{0, out, out}, 0)
		if err = problem; err != nil {
			return
		}
		ws, problem := process.Wait()
		end, err = status.EndOf(ws), errors.Join(problem, process.Close())
	})
	if problem != nil {
		t.Fatal(problem)
	}
	w.Close()
	var text [4096]byte
	n, _ := r.Read(text[:])
	return string(text[:n]), end, err
}

func TestACommandStartsAsThePlanSays(t *testing.T) {
	dir := t.TempDir()
	text := write(t, filepath.Join(dir, "text"), "echo of $0: \"$@\"\n", 0o755)
	t.Run("with its arguments", func(t *testing.T) {
		if out, end, err := outputOf(t, planOf("sh", "-c", `echo "$0 $1"; exit 3`, "a", "b c")); out != "a b c\n" || end.Code != 3 || err != nil {
			t.Errorf("%q, %+v, %v", out, end, err)
		}
	})
	t.Run("as a login shell", func(t *testing.T) {
		p := planOf("/bin/sh", "-c", `tr '\0' ' ' </proc/$$/cmdline`)
		p.Login = true
		if out, _, err := outputOf(t, p); !strings.HasPrefix(out, "-sh -c ") || err != nil {
			t.Errorf("%q, %v", out, err)
		}
	})
	t.Run("by the shell, where it is text", func(t *testing.T) {
		if out, _, err := outputOf(t, planOf(text, "x", "y z")); out != "of "+text+": x y z\n" || err != nil {
			t.Errorf("%q, %v", out, err)
		}
	})
	t.Run("with its limits", func(t *testing.T) {
		p := planOf("sh", "-c", "ulimit -n")
		p.Spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 77, Hard: 88}}
		if out, _, err := outputOf(t, p); out != "77\n" || err != nil {
			t.Errorf("%q, %v", out, err)
		}
	})
	t.Run("under its filter, with nothing of ours open", func(t *testing.T) {
		out, _, err := outputOf(t, planOf("sh", "-c", "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status; ls /proc/self/fd | wc -l"))
		if want := "NoNewPrivs:\t1\nSeccomp:\t2\n4\n"; out != want || err != nil { // 0, 1, 2 and what ls reads
			t.Errorf("%q, %v; want %q", out, err, want)
		}
	})
	t.Run("by its fallback", func(t *testing.T) {
		p := planOf("/no/such/shell")
		p.Fallback = []string{"sh", "-c", "echo $SHELL"}
		p.Spec.Process.Env = append(p.Spec.Process.Env, "SHELL=/no/such/shell")
		if out, _, err := outputOf(t, p); out != "sh\n" || err != nil {
			t.Errorf("%q, %v", out, err)
		}
		if p.Spec.Process.Args[0] != "/no/such/shell" || p.Spec.Process.Env[2] != "SHELL=/no/such/shell" {
			t.Errorf("the plan is another one now: %+v", p.Spec.Process)
		}
	})
	t.Run("or not at all", func(t *testing.T) {
		for name, code := range map[string]int{"no-such-command": 127, "/no/such": 127, dir: 126, write(t, filepath.Join(dir, "program"), "\x7fELF\x00", 0o755): 126} {
			_, _, err := outputOf(t, planOf(name))
			var command *status.CommandError
			if !errors.As(err, &command) || command.Code != code {
				t.Errorf("%s: %v, want code %d", name, err, code)
			}
		}
		p := planOf(dir) // a fallback is for what is not there
		p.Fallback = []string{"true"}
		if _, _, err := outputOf(t, p); err == nil {
			t.Error("the fallback of what cannot be executed was")
		}
		p = planOf("true")
		p.Spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE"}}
		if _, _, err := outputOf(t, p); err == nil || !strings.Contains(err.Error(), "RLIMIT_CORE") {
			t.Errorf("a limit that no command may have: %v", err)
		}
	})
}

func TestWhoAsksForAnotherCommandSendsWhatItTakes(t *testing.T) {
	over := make(chan struct{})
	close(over)
	l := &Launch{Builder: rootfs.Builder{Plan: &plan.Plan{}}, Over: over}
	args := []string{"true"}
	for _, c := range []struct {
		e     control.Exec
		files []int
		want  error
	}{
		{control.Exec{}, []int{0, 1, 2}, unix.EINVAL},
		{control.Exec{Args: args}, nil, unix.EINVAL},
		{control.Exec{Args: args}, []int{0, 1}, unix.EINVAL},
		{control.Exec{Args: args}, []int{0, 1, 2}, errEnding},
		{control.Exec{Args: args, TTY: true}, []int{0, 1, 2}, errEnding},
		{control.Exec{Args: args, Terminal: true}, nil, errEnding},
		{control.Exec{Args: args, Terminal: true}, []int{2}, errEnding},
		{control.Exec{Args: args, Terminal: true}, []int{1, 2}, unix.EINVAL},
		{control.Exec{Args: args, Terminal: true, TTY: true}, nil, unix.EINVAL},
	} {
		if _, _, err := l.Ask(c.e, c.files); !errors.Is(err, c.want) {
			t.Errorf("%+v with %v: %v, want %v", c.e, c.files, err, c.want)
		}
	}
}

func TestAnotherCommandRunsOnTheLaunchsThread(t *testing.T) {
	dir := t.TempDir()
	p := planOf("sleep", "1000")
	p.Login, p.Fallback = true, []string{"true"} // which are the first command's alone
	l := newLaunch(t, p)
	t.Chdir("/")
	ended := make(chan error)
	go func() { ended <- onThread(l.startOthers) }()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	out := int(w.Fd())
	process, terminal, err := l.Ask(control.Exec{Args: []string{"sh", "-c", "echo $0 $A; pwd"}, Env: []string{"A=b"}, Dir: dir, KeepTerm: true}, []int{0, out, out})
	if err != nil || terminal != nil {
		t.Fatalf("%v, %v", terminal, err)
	}
	w.Close()
	if ws, err := process.Wait(); err != nil || ws != 0 {
		t.Errorf("wait status %#x, %v", ws, err)
	}
	_ = process.Close()
	var text [4096]byte
	if n, _ := r.Read(text[:]); string(text[:n]) != "sh b\n"+dir+"\n" {
		t.Errorf("%q", text[:n])
	}
	if _, _, err := l.Ask(control.Exec{Args: []string{"no-such-command"}, KeepTerm: true}, []int{0, 1, 2}); status.ExitCodeOf(err) != status.ExitNotFound {
		t.Errorf("%v", err)
	}
	if _, _, err := l.Ask(control.Exec{Args: []string{"true"}, Dir: dir + "/nosuch"}, []int{0, 1, 2}); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("in a directory that is not there: %v", err)
	}
	close(l.Over)
	if _, _, err := l.Ask(control.Exec{Args: []string{"true"}}, []int{0, 1, 2}); !errors.Is(err, errEnding) {
		t.Errorf("at the end: %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
