package debian

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mayfly/integration/kit"
)

func schroot(t *testing.T, args ...string) kit.Result {
	t.Helper()
	return kit.Do(t, as(t, "/", append([]string{schrootLink}, args...)...))
}

// want fails the test unless a call of schroot ends so. A text that begins with E: is in
// standard error.
func want(t *testing.T, code int, text string, args ...string) {
	t.Helper()
	r := schroot(t, args...)
	where := r.Out
	if message, is := strings.CutPrefix(text, "E: "); is {
		text, where = message, r.Err
	} else if r.Err != "" {
		t.Errorf("schroot %q: %s", args, r.Err)
	}
	if r.Code != code || !strings.Contains(where, text) {
		t.Errorf("schroot %q: %+v, want %d and %q", args, r, code, text)
	}
}

// Exit statuses are those of schroot 1.6: the command's own, else 1.
func TestSchrootRunsACommand(t *testing.T) {
	defer kit.NothingLeft(t)
	image := kit.Image
	want(t, 0, "", "-c", image, "--", "true")
	want(t, 7, "", "-c", image, "--", "sh", "-c", "exit 7")
	want(t, 125, "", "-c", image, "--", "sh", "-c", "exit 125")
	want(t, 1, "E: terminated by signal TERM", "-c", image, "--", "sh", "-c", "kill -TERM $$")
	want(t, 1, "E: nosuch: command not found", "-c", image, "--", "nosuch")
	want(t, 1, "E: change directory: /nosuch", "-c", image, "-d", "/nosuch", "--", "true")
	want(t, 1, "E: unknown image nosuch", "-c", "nosuch", "--", "true")
	want(t, 1, "E: unknown image default", "--", "true")
	want(t, 1, "E: only root chooses another user", "-c", image, "-u", kit.Other, "--", "true")
	want(t, 1, "E: unknown flag --nosuch", "--nosuch")
	want(t, 1, "E: only one action", "-b", "-e", "-c", image)
	want(t, 1, "E: no source chroots", "-c", "source:"+image, "--", "true")
	want(t, 1, "E: nothing can be set here", "-o", "a=b", "-c", image, "--", "true")
	want(t, 1, "E: give -c once", "-c", image, "-c", image, "--", "true")
	want(t, 1, "E: goes with -b", "-n", "x", "-c", image, "--", "true")
	want(t, 0, kit.User+"\n", "-c", "chroot:"+image, "--", "id", "-un")
	want(t, 0, "0\n", "-c", image, "-u", "root", "--", "id", "-u")
	want(t, 0, "/usr\n", "-c", image, "-d", "/usr", "--", "pwd")
	want(t, 0, image+"\n", "-c", image, "--", "sh", "-c", "echo $SCHROOT_CHROOT_NAME")
	want(t, 0, "0\n", "-c", image+"-sbuild", "--", "sh", "-c", "ls /home | wc -l")
	cmd := as(t, "/", "env", "SECRET=of-mine", schrootLink, "-p", "-c", image, "--", "sh", "-c", "echo $SECRET")
	if r := kit.Do(t, cmd); r.Out != "of-mine\n" {
		t.Errorf("-p: %+v", r)
	}
	cmd = as(t, "/home/"+kit.User, schrootLink, "-c", image)
	cmd.Stdin = strings.NewReader("pwd; shopt -q login_shell && echo login\n")
	if r := kit.Do(t, cmd); r.Out != "/home/"+kit.User+"\nlogin\n" {
		t.Errorf("a shell: %+v", r)
	}
	root := kit.Do(t, kit.As(t, "root", schrootLink, "-c", image, "-u", kit.Other, "-d", "/", "--", "id", "-un"))
	if root.Out != kit.Other+"\n" {
		t.Errorf("root as another user: %+v", root)
	}
}

func TestSchrootSession(t *testing.T) {
	defer kit.NothingLeft(t)
	maySbuild(t)
	image := kit.Image
	defer schroot(t, "--all-sessions", "-e")
	want(t, 0, "work\n", "-c", image+"-sbuild", "-b", "-n", "work")
	want(t, 1, "E: runs already", "-c", image, "-b", "-n", "work")
	want(t, 0, "", "-r", "-c", "work", "-d", "/", "--", "sh", "-c", "echo kept >/tmp/file; setsid sleep 1000 >/dev/null 2>&1 &")
	want(t, 0, "kept\n", "-r", "-c", "session:work", "-d", "/tmp", "-u", "root", "--", "cat", "file")
	want(t, 0, "kept\n", "-c", "session:work", "-d", "/tmp", "--", "cat", "file")
	want(t, 0, kit.User+" "+kit.User+" sbuild /home/"+kit.User+" work\n", "-r", "-c", "work", "-d", "/", "--", "sh", "-c", `echo "$(id -un) $(id -Gn) $HOME $SCHROOT_SESSION_ID"`)
	want(t, 0, "0 root /root\n", "-r", "-c", "work", "-d", "/", "-u", "root", "--", "sh", "-c", `echo "$(id -u) $USER $HOME"`)
	want(t, 1, "E: in /nosuch: change directory", "-r", "-c", "work", "-d", "/nosuch", "--", "true")
	want(t, 7, "", "-r", "-c", "work", "-d", "/", "--", "sh", "-c", "exit 7")
	want(t, 1, "E: terminated by signal KILL", "-r", "-c", "work", "-d", "/", "--", "sh", "-c", "kill -9 $$")
	want(t, 1, "E: there is no session nosuch", "-r", "-c", "nosuch", "--", "true")
	want(t, 1, "E: go with -r", "-b", "-c", image, "--", "true")
	want(t, 1, "E: go with -r", "-l", "-u", "root")
	want(t, 1, "E: is a session", "-b", "-c", "session:work")
	want(t, 0, "", "--recover-session", "-c", "work")
	want(t, 1, "E: there is no session", "--recover-session", "-c", "nosuch")
	want(t, 0, "session:work\n", "-l", "--all-sessions")
	want(t, 0, "chroot:"+image+"\nchroot:"+image+"-sbuild\n", "-l")
	want(t, 1, "E: there is no image or session nosuch", "-i", "-c", "nosuch")
	info := schroot(t, "-i", "-c", "session:work")
	location := strings.TrimSpace(schroot(t, "--location", "-c", "session:work").Out)
	contains(t, info.Out, "--- Session ---", "Name                   work\n", "Session Purged         true\n", "Path                   "+location+"\n")
	if entries, err := os.ReadDir(location); err != nil || len(entries) != 0 {
		t.Errorf("its location: %v, %v", entries, err)
	}
	cmd := as(t, "/usr", schrootLink, "-r", "-c", "work")
	cmd.Stdin = strings.NewReader("pwd; shopt -q login_shell && echo login\n")
	if r := kit.Do(t, cmd); r.Out != "/usr\nlogin\n" {
		t.Errorf("a shell: %+v", r)
	}
	// Another user's session is not there.
	if r := kit.Do(t, kit.As(t, kit.Other, schrootLink, "-r", "-c", "work", "--", "true")); r.Code != 1 || !strings.Contains(r.Err, "no session work") {
		t.Errorf("another's: %+v", r)
	}
	want(t, 0, "", "-e", "-c", "work")
	want(t, 1, "E: there is no session work", "-e", "-c", "work")
	want(t, 0, "", "-e", "-f", "-c", "work")
	// A container of another kind is none of all sessions, and two are ended at once.
	if r := kit.Run(t, "run", "--detach", "--name", "other", image, "--", "sleep", "1000"); r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	want(t, 0, "one\n", "-c", image, "-b", "-n", "one")
	want(t, 0, "two\n", "-c", image, "-b", "-n", "two")
	kit.Must(t, os.WriteFile(filepath.Join(strings.TrimSpace(schroot(t, "--location", "-c", "session:one").Out), "file"), nil, 0o644))
	want(t, 0, "", "-e", "--all-sessions")
	if r := kit.Run(t, "ps", "--names"); r.Out != "other\n" {
		t.Errorf("%+v", r)
	}
	if r := kit.Run(t, "logs", "other"); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	want(t, 0, "", "-e", "-c", "other")
	if files, _ := filepath.Glob("/home/" + kit.User + "/.local/state/mayfly/work.*"); len(files) > 0 {
		t.Errorf("left: %v", files)
	}
}

// A session whose beginning is killed at any moment can be ended.
func TestABeginningIsKilled(t *testing.T) {
	defer kit.NothingLeft(t)
	for i := range kit.Rounds(12, 300) {
		cmd := as(t, "/", schrootLink, "-c", kit.Image, "-b", "-n", "killed")
		kit.Must(t, cmd.Start())
		time.Sleep(time.Duration(i%12) * time.Millisecond) // a beginning takes about ten
		kit.Must(t, cmd.Process.Signal(syscall.SIGKILL))
		_ = cmd.Wait()
		if r := schroot(t, "-e", "-f", "-c", "killed"); r.Code != 0 {
			t.Fatalf("round %d: %+v", i, r)
		}
		if r := kit.Run(t, "ps", "--names"); r.Out != "" {
			t.Fatalf("round %d: it runs: %s", i, r.Out)
		}
	}
}

// Of two that begin one name, one has it, and it can be ended. An end that is killed can
// be done again.
func TestTwoBeginAndTheEndIsKilled(t *testing.T) {
	defer kit.NothingLeft(t)
	for i := range kit.Rounds(8, 200) {
		begin := func() *exec.Cmd {
			cmd := as(t, "/", schrootLink, "-c", kit.Image, "-b", "-n", "both")
			kit.Must(t, cmd.Start())
			return cmd
		}
		one, two := begin(), begin()
		begun := 0
		for _, cmd := range []*exec.Cmd{one, two} {
			if cmd.Wait() == nil {
				begun++
			}
		}
		if r := schroot(t, "-l", "--all-sessions"); begun != 1 || r.Out != "session:both\n" {
			t.Fatalf("round %d: %d have begun: %+v", i, begun, r)
		}
		end := as(t, "/", schrootLink, "-e", "-c", "both")
		kit.Must(t, end.Start())
		time.Sleep(time.Duration(i%8) * time.Millisecond)
		_ = end.Process.Kill()
		_ = end.Wait()
		if r := schroot(t, "-e", "-f", "-c", "both"); r.Code != 0 {
			t.Fatalf("round %d: %+v", i, r)
		}
		if r := kit.Run(t, "ps", "--names"); r.Out != "" {
			t.Fatalf("round %d: it runs: %s", i, r.Out)
		}
	}
}
