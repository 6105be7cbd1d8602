package reports

import (
	"bufio"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mayfly/integration/kit"
)

// TestTheCommandCannotBeWaitedFor makes each way of waiting for a process fail.
// Source: runc: wait fails and the runtime hangs.
func TestTheCommandCannotBeWaitedFor(t *testing.T) {
	for _, fault := range []string{"waitid:error=EIO", "waitid:error=ENOMEM", "wait4:error=EIO", "waitid,wait4:error=EIO"} {
		for _, script := range []string{"exit 0", "sleep 600 & exit 0", "exec sleep 600"} {
			if strings.HasPrefix(fault, "wait4") && strings.HasPrefix(script, "exec") {
				continue // its end can be waited for, and there is none
			}
			args := []string{"-f", "-qq", "-b", "execve", "-e", "signal=none", "-u", kit.User, "-o", filepath.Join(t.TempDir(), "log"),
				"-e", "trace=waitid,wait4", "-e", "inject=" + fault, kit.Runtime, "run", "--chdir", "/", kit.Image, "sh", "-c", script}
			cmd := exec.Command("strace", args...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			r := kit.DoWithin(t, kit.Within(20*time.Second), cmd)
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // one that hangs would be in the way of the others
			if r.Code != 125 || !strings.Contains(r.Err, "wait for the command: ") {
				t.Errorf("%s, %s: exit %d, says %q", fault, script, r.Code, r.Err)
			}
			kit.NothingLeft(t)
		}
	}
}

// TestProcessIDsAreNotAlwaysTheSame looks at the command's own number, by which
// programs name files that are theirs, in a home that several containers share, or on
// the same bind. Source: flatpak, toolbox: lock files with a PID in the shared home are
// taken for living, or for stale.
func TestProcessIDsAreNotAlwaysTheSame(t *testing.T) {
	seen := map[string]bool{}
	for range 3 {
		r := kit.Inside(t, "echo $$")
		if pid, err := strconv.Atoi(strings.TrimSpace(r.Out)); err != nil || pid < 300 || pid > 32767 {
			t.Errorf("%+v", r)
		}
		seen[r.Out] = true
	}
	if len(seen) == 1 { // by chance once in eight hundred million times
		t.Errorf("three times %v", seen)
	}
	kit.NothingLeft(t)
}

// Source: podman, docker: a CI runner that was killed leaves its containers;
// bubblewrap: --die-with-parent.
func TestAContainerEndsWithItsParent(t *testing.T) {
	for _, flag := range []string{"--die-with-parent", "--quiet"} {
		cmd := kit.As(t, kit.User, "sh", "-c", kit.Runtime+" run --name d "+flag+" "+kit.Image+" -- sh -c \"trap '' TERM HUP; echo runs; sleep 600\"; true")
		out, err := cmd.StdoutPipe()
		kit.Must(t, err)
		kit.Must(t, cmd.Start())
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "runs\n" {
			t.Fatalf("%q, %v", line, err)
		}
		kit.Must(t, cmd.Process.Kill())
		_ = cmd.Wait()
		if flag == "--quiet" {
			time.Sleep(kit.Within(300 * time.Millisecond))
			if r := kit.Run(t, "kill", "--signal", "KILL", "d"); r.Code != 0 {
				t.Errorf("without the flag: %+v", r)
			}
		}
		kit.Eventually(t, "the container ends", func() bool {
			left, err := filepath.Glob("/run/mayfly/*/*")
			return err == nil && len(left) == 0
		})
		kit.NothingLeft(t)
	}
}

// A startup file may end a login shell, as one that executes a shell which the image
// does not have.
func TestAShellThatReadsNoProfile(t *testing.T) {
	script := `d=$(mktemp -d ~/home-XXXXXX); trap 'rm -r $d' EXIT; echo 'exec /nosuch/zsh' >$d/.bash_profile; S="` + kit.Runtime + ` shell --quiet --env HOME=$d"
$S $T -- echo in 2>/dev/null; echo status $?
$S --no-login $T -- sh -c 'echo $0 in'
$S --no-login --no-tty $T <<'E'
echo $0; shopt -q login_shell || echo no login shell
E`
	hold(t, []report{{name: "a shell that is no login shell", source: "toolbox, distrobox: enter fails, exec zsh in the profile",
		do: script, out: "status 127\nsh in\n/bin/bash\nno login shell\n"}})
}
