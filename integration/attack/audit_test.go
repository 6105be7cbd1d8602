package attack

import (
	"fmt"
	"net"
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

// A syslog stands in for the system's log, in the mount namespaces of what a test
// starts.
type syslog struct {
	socket string
	conn   *net.UnixConn
	mu     sync.Mutex
	lines  []string
}

// listenToSyslog makes one. Where the machine has no /dev/log it makes a file to mount
// on.
func listenToSyslog(t *testing.T) *syslog {
	t.Helper()
	place := t.TempDir()
	for _, dir := range []string{filepath.Dir(place), place} {
		kit.Must(t, os.Chmod(dir, 0o755))
	}
	l := &syslog{socket: filepath.Join(place, "log")}
	var err error
	l.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: l.socket, Net: "unixgram"})
	kit.Must(t, err)
	t.Cleanup(func() { l.conn.Close() })
	kit.Must(t, os.Chmod(l.socket, 0o666))
	if _, err := os.Stat("/dev/log"); err != nil {
		kit.Must(t, os.WriteFile("/dev/log", nil, 0o644))
		t.Cleanup(func() { _ = os.Remove("/dev/log") })
	}
	return l
}

// fill writes until nobody can, by as many senders as it takes: each has a bound of its
// own.
func (l *syslog) fill(t *testing.T) {
	t.Helper()
	for {
		flood, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: l.socket, Net: "unixgram"})
		kit.Must(t, err)
		t.Cleanup(func() { flood.Close() })
		kit.Must(t, flood.SetWriteDeadline(time.Now().Add(100*time.Millisecond)))
		written := 0
		for ; err == nil; written++ {
			_, err = flood.Write([]byte("a user's"))
		}
		if written == 1 { // not even the first
			return
		}
	}
}

// read reads from now on.
func (l *syslog) read() {
	buffer := make([]byte, 64<<10)
	for {
		n, err := l.conn.Read(buffer)
		if err != nil {
			return
		}
		l.mu.Lock()
		l.lines = append(l.lines, string(buffer[:n]))
		l.mu.Unlock()
	}
}

// find returns the first of our lines that has all the words, "" for none.
func (l *syslog) find(words ...string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, "mayfly[") && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			return line
		}
	}
	return ""
}

func (l *syslog) await(t *testing.T, words ...string) string {
	t.Helper()
	kit.Eventually(t, fmt.Sprintf("the log has a line with %q", words), func() bool { return l.find(words...) != "" })
	return l.find(words...)
}

// around prepares a program of a user's that has this for the system's log, and no
// journal.
func (l *syslog) around(t *testing.T, w way, user string, args ...string) *exec.Cmd {
	t.Helper()
	const script = `[ ! -d /run/systemd/journal ] || { mount -t tmpfs tmpfs /run/systemd/journal; touch /run/systemd/journal/dev-log; }
		mount --bind "$1" /dev/log; cd "$2"; shift 2; exec setpriv "$@"`
	set := []string{"--reuid", user, "--regid", user, "--init-groups"}
	if w.name == "ambient" && user != "root" {
		caps := "+sys_admin,+setuid,+setgid,+setpcap"
		if !kit.OnBTRFS() {
			caps += ",+chown,+dac_override,+fowner,+fsetid"
		}
		set = append(set, "--inh-caps", caps, "--ambient-caps", caps)
	}
	u, _, _ := kit.Lookup(t, user)
	cmd := exec.Command("unshare", slices.Concat([]string{"--mount", "sh", "-ec", script, "sh", l.socket, u.HomeDir}, set, args)...)
	cmd.Env = []string{"HOME=" + u.HomeDir, "USER=" + user, "LOGNAME=" + user, "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "MAYFLY_CALLER=0"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// Whoever kills what would tell of their command cannot keep the log from knowing of
// it: what has run was told of before.
func TestC41KilledAtOnce(t *testing.T) {
	l := listenToSyslog(t)
	go l.read()
	each(t, func(t *testing.T, w way) {
		dir := home(t, kit.User)
		ran := 0
		for i := range kit.Times(40) {
			marker := fmt.Sprintf("%s-%d", w.name, i)
			mark := filepath.Join(dir, marker)
			cmd := l.around(t, w, kit.User, w.args("run", "--bind", dir, "--env", "A=B", "--chdir", "/usr", kit.Sealed, "sh", "-c", "echo >"+mark+"; sleep 60")...)
			kit.Must(t, cmd.Start())
			if i%2 == 0 {
				kit.Eventually(t, "the command runs", func() bool { return statOf(mark) == nil })
			} else {
				time.Sleep(time.Duration(i) * 2 * time.Millisecond)
			}
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			_ = cmd.Wait()
			if statOf(mark) != nil {
				continue
			}
			ran++
			line := l.await(t, "event=start", marker)
			_, uid, _ := kit.Lookup(t, kit.User)
			for _, want := range []string{fmt.Sprintf("uid=%d ", uid), "user=" + kit.User, "image=" + kit.Sealed, "container=" + kit.Sealed, "decision=allowed", "version=", "digest=sha256:", "dir=/usr"} {
				if !strings.Contains(line, want) {
					t.Errorf("no %q in %s", want, line)
				}
			}
			if l.find("event=end", marker) != "" {
				t.Error("who was killed tells of the end")
			}
		}
		if ran < kit.Times(20) {
			t.Errorf("%d commands ran", ran)
		}
		gc(t)
	})
}

// A log that is full costs a moment and not the launch; the caller is told, and so is
// the log as soon as it takes something.
func TestC41AFloodedLog(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		if w.name == "sudo" {
			return // it is sudo that waits for the log, for as long as it takes, before it starts anything
		}
		l := listenToSyslog(t)
		l.fill(t)
		cmd := l.around(t, w, kit.User, w.args("run", "--quiet", kit.Image, "sh", "-c", "echo ready; read line; exit 3")...)
		in, err := cmd.StdinPipe()
		kit.Must(t, err)
		out, err := cmd.StdoutPipe()
		kit.Must(t, err)
		var said strings.Builder
		cmd.Stderr = &said
		kit.Must(t, cmd.Start())
		limit := time.AfterFunc(kit.Within(20*time.Second), func() { _ = cmd.Process.Kill() })
		defer limit.Stop()
		if _, err := out.Read(make([]byte, 16)); err != nil {
			t.Errorf("with a full log nothing runs: %v", err)
		}
		go l.read()
		kit.Eventually(t, "the log takes something again", func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return len(l.lines) > 0
		})
		kit.Must(t, in.Close())
		_ = cmd.Wait()
		if code := kit.Code(cmd.ProcessState); code != 3 || !strings.Contains(said.String(), "is lost") {
			t.Errorf("exit %d, %q", code, said.String())
		}
		l.await(t, "event=end", `result="exit 3"`, "lost=1")
	})
}

// Sessions and images are told of: who, what, how it ended; of who has become root for
// it, who they are.
func TestC41SessionsAndImages(t *testing.T) {
	l := listenToSyslog(t)
	go l.read()
	_, uid, _ := kit.Lookup(t, kit.User)
	who := fmt.Sprintf("uid=%d user=%s ", uid, kit.User)
	const main = "/etc/mayfly/policy.toml"
	before, err := os.ReadFile(main)
	kit.Must(t, err)
	defer func() { kit.Must(t, os.WriteFile(main, before, 0o644)) }()
	kit.Must(t, os.WriteFile(main, append([]byte("image-group = \""+kit.Group+"\"\n"), before...), 0o644))
	w := ways[0]
	do := func(user string, args ...string) kit.Result {
		return kit.Do(t, l.around(t, w, user, w.args(args...)...))
	}
	for _, c := range []struct {
		user   string
		args   []string
		events [][]string
	}{
		{kit.User, []string{"session", "begin", "--name", "told", kit.Image}, [][]string{
			{`event="session begin"`, who, "image=" + kit.Image, `result=""`, "session=told"}, {`event="session begin"`, who, "result=done", "session=told"}}},
		{kit.User, []string{"session", "end", "told"}, [][]string{{`event="session end"`, who, `result=""`}, {`event="session end"`, who, "result=done", "session=told"}}},
		{kit.User, []string{"session", "end", "nosuch"}, [][]string{{`event="session end"`, who, "decision=failed", "session=nosuch"}}},
		{kit.User, []string{"image", "clone", kit.Sealed, "told-image"}, [][]string{{`event="image clone"`, who, "told-image", `result=""`}, {`event="image clone"`, who, "result=done"}}},
		{kit.User, []string{"image", "rename", "told-image", "told-new"}, [][]string{{`event="image rename"`, who, "image=told-image", "result=done"}}},
		{"root", []string{"image", "prune", "told-new"}, [][]string{{`event="image prune"`, "uid=0 user=root ", "image=told-new", "result=done"}}},
		{"root", []string{"image", "rollback", "told-new"}, [][]string{{`event="image rollback"`, "uid=0 user=root ", "decision=failed"}}},
		{kit.User, []string{"image", "remove", "told-new"}, [][]string{{`event="image remove"`, who, "image=told-new", "result=done"}}},
	} {
		r := do(c.user, c.args...)
		for _, words := range c.events {
			if l.await(t, words...); t.Failed() {
				t.Fatalf("%q: %+v", c.args, r)
			}
		}
	}
	if line := l.find(`event="image list"`); line != "" {
		t.Errorf("who changes nothing is told of: %s", line)
	}
	kit.NothingLeft(t)
}

// Where there is no journal `log` says where events go.
func TestC41WhereTheLogIs(t *testing.T) {
	l := listenToSyslog(t)
	refused(t, "syslog", kit.Do(t, l.around(t, ways[0], kit.User, kit.Runtime, "log")), "/dev/log")
	const bare = `[ ! -d /run/systemd/journal ] || mount -t tmpfs tmpfs /run/systemd/journal; [ ! -f /dev/log ] || rm /dev/log; exec "$@"`
	refused(t, "nothing", kit.Do(t, exec.Command("unshare", "--mount", "sh", "-ec", bare, "sh", kit.Runtime, "log")), "nothing is told of")
}
