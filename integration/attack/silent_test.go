package attack

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mayfly/integration/kit"
)

// A silence is a file system of the test user's that answers no open(2) of the one file
// that it has.
type silence struct {
	t       *testing.T
	program string
	server  *exec.Cmd
	says    *bufio.Reader
	end     func() // the kernel lets everybody off
}

// silent mounts one. If deaf it does not even take the request, and the kernel lets off
// who is killed.
func silent(t *testing.T, deaf bool) *silence {
	t.Helper()
	if deaf {
		return mountSilence(t, "deaf")
	}
	return mountSilence(t)
}

func mountSilence(t *testing.T, how ...string) *silence {
	t.Helper()
	dir := home(t, kit.User)
	_, uid, gid := kit.Lookup(t, kit.User)
	args := []string{"silent", dir, fmt.Sprint(uid), fmt.Sprint(gid)}
	server := exec.Command(helper, append(args, how...)...)
	out, err := server.StdoutPipe()
	kit.Must(t, err)
	kit.Must(t, server.Start())
	s := &silence{t: t, server: server, program: filepath.Join(dir, "program"), says: bufio.NewReader(out)}
	s.end = func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	}
	t.Cleanup(func() {
		s.end()
		_ = exec.Command("umount", "--lazy", dir).Run()
	})
	s.await("mounted")
	return s
}

func (s *silence) await(word string) {
	s.t.Helper()
	said := make(chan string, 1)
	go func() {
		for {
			line, err := s.says.ReadString('\n')
			if err != nil || line == word+"\n" {
				said <- line
				return
			}
		}
	}()
	select {
	case line := <-said:
		if line != word+"\n" {
			s.t.Fatalf("the file system ends before it is %s: %v", word, io.ErrUnexpectedEOF)
		}
	case <-time.After(kit.Within(20 * time.Second)):
		s.t.Fatalf("the file system is never %s", word)
	}
}

// run starts a container whose command is the file, and waits until its opening hangs.
func (s *silence) run(w way, flags ...string) *exec.Cmd {
	s.t.Helper()
	args := append([]string{"run", "--name", "hangs", "--writable", "--bind", filepath.Dir(s.program)}, flags...)
	cmd := w.cmd(s.t, append(args, kit.Image, s.program)...)
	kit.Must(s.t, cmd.Start())
	s.await("asked")
	return cmd
}

// A command that hangs on its way to execve(2) holds nothing of the container's: when
// its supervisor is killed, the container is over for everybody, whether the kernel
// lets the process off or not.
func TestC36ACommandThatIsNeverExecuted(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		for what, deaf := range map[string]bool{"taken": false, "not taken": true} {
			t.Run(what, func(t *testing.T) {
				s := silent(t, deaf)
				cmd := s.run(w)
				supervisor := supervisorOf(t, cmd)
				kit.Must(t, syscall.Kill(supervisor, syscall.SIGKILL))
				_ = cmd.Wait()
				kit.Eventually(t, "gc leaves nothing", func() bool {
					r := kit.Root(t, "gc")
					left, _ := filepath.Glob("/run/mayfly/*/*")
					return r.Code == 0 && len(left) == 0 && len(kit.Snapshots(t, kit.Store)) == 0 && len(kit.Inits(t)) == 0
				})
				// Its name is free, and so is its place among those that the policy
				// allows.
				if r := w.run(t, "run", "--name", "hangs", kit.Image, "true"); r.Code != 0 {
					t.Errorf("the name again: %+v", r)
				}
				s.end()
			})
		}
	})
}

// A supervisor that is killed waits, as it closes what it has open, for a file system
// of the caller's, and what it holds of the container waits with it. So it has nothing
// of theirs open that it was started with beside standard input, output and error.
func TestC36ADescriptorThatIsNeverClosed(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		s := mountSilence(t, "closing")
		cmd := w.cmd(t, "run", "--name", "closes", kit.Image, "sleep", "1000")
		cmd.Args = append([]string{"sh", "-c", "exec 9<" + s.program + `; "$@"; exit 3`, "sh"}, cmd.Args...)
		cmd.Path = "/bin/sh"
		kit.Must(t, cmd.Start())
		supervisor := supervisorOf(t, cmd)
		kit.Must(t, s.server.Process.Signal(syscall.SIGUSR1))
		kit.Must(t, syscall.Kill(supervisor, syscall.SIGKILL))
		kit.Eventually(t, "gc leaves nothing", func() bool {
			r := kit.Root(t, "gc")
			left, _ := filepath.Glob("/run/mayfly/*/*")
			return r.Code == 0 && len(left) == 0 && len(kit.Snapshots(t, kit.Store)) == 0 && len(kit.Inits(t)) == 0
		})
		s.await("asked")
		s.end()
		_ = cmd.Wait()
	})
}

// While it hangs it can be ended as any other command: by a signal, by its time limit,
// by `kill`, by root.
func TestC36ACommandThatIsNeverExecutedEnds(t *testing.T) {
	eachWaiting(t, func(t *testing.T, w way) {
		for what, c := range map[string]struct {
			flags []string
			end   func(t *testing.T, supervisor int)
			want  int
		}{
			"time limit": {[]string{"--timeout", "300ms"}, func(*testing.T, int) {}, 124},
			"SIGTERM":    {nil, func(t *testing.T, s int) { kit.Must(t, syscall.Kill(s, syscall.SIGTERM)) }, 143},
			"SIGINT":     {nil, func(t *testing.T, s int) { kit.Must(t, syscall.Kill(s, syscall.SIGINT)) }, 130},
		} {
			t.Run(what, func(t *testing.T) {
				s := silent(t, true)
				cmd := s.run(w, c.flags...)
				c.end(t, supervisorOf(t, cmd))
				limit := time.AfterFunc(kit.Within(20*time.Second), s.end)
				_ = cmd.Wait()
				if !limit.Stop() || kit.Code(cmd.ProcessState) != c.want {
					t.Errorf("exit %d, want %d", kit.Code(cmd.ProcessState), c.want)
				}
			})
		}
	})
}

// Why a script cannot be executed is not looked for in a file system that need not
// answer a second time: the thread that looks holds the container.
func TestC36AScriptThatIsOpenedOnce(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		s := mountSilence(t, "script")
		cmd := w.cmd(t, "run", "--bind", filepath.Dir(s.program), kit.Image, s.program)
		limit := time.AfterFunc(kit.Within(20*time.Second), s.end)
		r := kit.Do(t, cmd)
		if !limit.Stop() || r.Code != 126 || !strings.Contains(r.Err, "its interpreter or dynamic loader is not in the container") {
			t.Errorf("%+v", r)
		}
	})
}
