package reports

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"mayfly/integration/kit"
)

// interactive is an interactive shell of the ordinary user's on a terminal, where $R
// and $T are as in a report.
func interactive(t *testing.T) *kit.Terminal {
	t.Helper()
	cmd := kit.As(t, kit.User, "bash", "--norc", "-i")
	cmd.Dir = workspace(t)
	cmd.Env = append(cmd.Env, "R="+kit.Runtime+" run --quiet", "X="+kit.Runtime+" exec", "S="+kit.Runtime+" shell --quiet",
		"T="+kit.Image, "PS1=> ", "PWD="+cmd.Dir)
	m := kit.OnTerminal(t, kit.User, cmd)
	m.Await("> ")
	t.Cleanup(func() {
		if t.Failed() { // a job that is left would be in the way of others
			kit.Run(t, "kill", "--signal", "KILL", "--all")
			_ = m.Cmd.Process.Kill()
		}
	})
	return m
}

// leave ends the shell. What it has shown must not have some words.
func leave(t *testing.T, m *kit.Terminal, never ...string) {
	t.Helper()
	m.Type("exit\n")
	m.Wait()
	for _, text := range never {
		if strings.Contains(m.Shows(), text) {
			t.Errorf("the terminal shows %q:\n%s", text, m.Shows())
		}
	}
	kit.NothingLeft(t)
}

// Source: docker: run -t in the background stops (tty output); podman: run -it & hangs.
func TestAJobInTheBackgroundRuns(t *testing.T) {
	m := interactive(t)
	m.Type("$R $T -- sh -c 'echo in; sleep 0.1; echo the back''ground' &\n")
	m.Await("the background")
	m.Type("wait; echo status $?\n")
	m.Await("\r\nstatus 0")
	m.Type("$R --name b $T -- sleep 600 & until $X b true; do sleep 0.1; done 2>/dev/null; $X b echo join''ed &\n")
	m.Await("joined")
	m.Type("wait %2; kill %1; wait; echo all en''ded\n")
	m.Await("all ended")
	leave(t, m, "Stopped")
}

// A job in the background takes nothing of what is typed for others.
// Source: lxc: lxc-execute & eats keystrokes of the shell.
func TestAJobInTheBackgroundLeavesWhatIsTyped(t *testing.T) {
	m := interactive(t)
	for i, around := range []string{"$R $T -- %", "$R --no-tty $T -- %", "$R $T -- % | cat"} {
		m.Type(strings.Replace(around, "%", fmt.Sprintf("sh -c 'echo %drea''dy >&2; read x; echo got $x; read x; echo got $x'", i), 1) + " &\n")
		m.Await(fmt.Sprint(i, "ready"))
		for _, word := range []string{"one", "two", "three"} {
			m.Type(fmt.Sprintf("echo %d by the ''%s\n", i, word))
			m.Await(fmt.Sprintf("%d by the %s", i, word))
		}
		m.Type("fg\n")
		time.Sleep(kit.Within(500 * time.Millisecond))
		for _, word := range []string{"typed", "again"} {
			m.Type(fmt.Sprint(word, i, "\n"))
			m.Await(fmt.Sprint("\r\ngot ", word, i))
		}
		time.Sleep(kit.Within(200 * time.Millisecond))
		m.Type(fmt.Sprintf("echo %d next ''one\n", i))
		m.Await(fmt.Sprint(i, " next one"))
	}
	leave(t, m, "Stopped")
}

// A shell in the background wants the terminal, and waits for it as every shell does.
func TestAShellInTheBackgroundWaitsForTheTerminal(t *testing.T) {
	m := interactive(t)
	m.Type("$S $T &\n")
	m.Await("[1]")
	m.Type("until jobs | grep Stopped; do sleep 0.1; done\n")
	m.Await("\n[1]+  Stopped")
	m.Type("fg\n")
	m.Await("$ ")
	m.Type("tty; exit 6\n")
	m.Await("/dev/pts/0")
	time.Sleep(kit.Within(200 * time.Millisecond))
	m.Type("echo status $?\n")
	m.Await("\r\nstatus 6")
	leave(t, m)
}

// ticks is a job that writes all the time, also to a file of the user's, so that it is
// seen when nobody reads its output.
const (
	ticks     = `sh -c 'i=0; while :; do i=$((i+1)); echo tick$i; echo $i >` + ticksFile + `; sleep 0.05; done'`
	ticksFile = "/home/" + kit.User + "/ticks"
)

// still waits until no ticks come any more, and tells how many there were.
func still(t *testing.T, m *kit.Terminal) int {
	t.Helper()
	before := -1
	kit.Eventually(t, "the job stops", func() bool {
		now := ticked(t)
		same := now == before
		before = now
		time.Sleep(kit.Within(300 * time.Millisecond))
		return same
	})
	return before
}

// ticked is how many there were.
func ticked(t *testing.T) int {
	t.Helper()
	data, _ := os.ReadFile(ticksFile)
	n, _ := strconv.Atoi(strings.TrimSpace(string(data)))
	return n
}

// Source: docker: Ctrl-Z on docker run in a pipeline leaves the container running;
// sudo: suspends its command with itself.
func TestAJobStopsAndGoesOn(t *testing.T) {
	t.Cleanup(func() { _ = os.Remove(ticksFile) })
	for _, around := range []string{"$R $T -- % | cat", "$R $T -- %", "$R --no-tty $T -- %", background + "$X b % | cat", background + "$X b %"} {
		m := interactive(t)
		before := m.Modes()
		m.Type(strings.Replace(around, "%", ticks, 1) + "\n")
		m.Await("tick3\r\n")
		m.Type("\x1a")
		m.Await("Stopped")
		kit.Eventually(t, "the terminal is restored", func() bool { m.Type("\n"); return m.Modes().Oflag == before.Oflag })
		n := still(t, m)
		m.Type("jobs; fg\n")
		m.Await(fmt.Sprintf("tick%d\r\n", n+3))
		m.Type("\x1a")
		n = still(t, m)
		m.Type("bg; echo by the ''shell\n")
		m.Await("by the shell")
		m.Await(fmt.Sprintf("tick%d\r\n", n+3))
		m.Type("fg\n")
		time.Sleep(kit.Within(500 * time.Millisecond))
		m.Type("\x03")
		time.Sleep(kit.Within(200 * time.Millisecond))
		still(t, m)
		m.Type("kill %1; wait; echo at the ''end\n")
		m.Await("at the end")
		leave(t, m)
	}
}

// Source: sudo: Ctrl-Z in a script that runs it hangs the terminal.
func TestWhatWaitsForTheJobStopsToo(t *testing.T) {
	m := interactive(t)
	for i, script := range []string{"$R $T -- sh -c 'echo rea''dy; read x; echo got $x'", "$R $T -- sh -c 'echo rea''dy; read x </dev/tty; echo got $x' | cat"} {
		m.Type(fmt.Sprintf("bash -c \"echo %d; %s; echo %d en''ded\"\n", i, strings.ReplaceAll(script, "$x", "\\$x"), i))
		m.Await(fmt.Sprint("\n", i, "\r\nready"))
		time.Sleep(kit.Within(300 * time.Millisecond))
		m.Type("\x1a")
		time.Sleep(kit.Within(300 * time.Millisecond))
		m.Type(fmt.Sprint("echo sh''ell ", i, "\n"))
		m.Await(fmt.Sprint("shell ", i))
		m.Type("fg\n")
		time.Sleep(kit.Within(500 * time.Millisecond))
		m.Type(fmt.Sprint("typed", i, "\n"))
		m.Await(fmt.Sprint("got typed", i))
		m.Await(fmt.Sprint(i, " ended"))
		time.Sleep(kit.Within(200 * time.Millisecond))
	}
	leave(t, m)
}

// A shell inside has jobs of its own, and is not stopped.
func TestAShellInsideIsNotStopped(t *testing.T) {
	m := interactive(t)
	m.Type("$R $T -- env PS1='in> ' bash --norc -i\n")
	m.Await("\nin> ")
	m.Type("\x1a\x1aecho still ''here\n")
	m.Await("still here")
	m.Type("sleep 60\n")
	time.Sleep(kit.Within(200 * time.Millisecond))
	m.Type("\x1a")
	m.Await("Stopped")
	m.Type("kill -9 %1; exit; exit\n") // bash may still have a job, and then wants it twice
	m.Await("exit\r\n> ")
	m.Type("echo out'' of it\n")
	m.Await("out of it")
	leave(t, m)
}

// Source: su, sudo: the shell's suspend hangs.
func TestACommandThatStopsItself(t *testing.T) {
	m := interactive(t)
	m.Type("$R $T -- sh -c 'echo begun; kill -STOP $$; echo resum''ed; read x; echo got $x'\n")
	m.Await("Stopped")
	m.Type("fg\n")
	m.Await("resumed\r\n")
	m.Type("typed\n")
	m.Await("got typed\r\n> ") // what is typed before is the job's
	t.Cleanup(func() { _ = os.Remove(ticksFile) })
	// Who has stopped it from elsewhere continues it from there.
	m.Type("$R --name b $T -- " + ticks + "\n")
	m.Await("tick3\r\n")
	n := 0
	for _, s := range []string{"STOP", "CONT"} {
		if r := kit.Run(t, "kill", "--signal", s, "b"); r.Code != 0 {
			t.Errorf("%+v", r)
		}
		if s == "STOP" {
			n = still(t, m)
		}
	}
	m.Await(fmt.Sprintf("tick%d\r\n", n+3))
	m.Type("\x03")
	time.Sleep(kit.Within(200 * time.Millisecond))
	m.Type("exit\n")
	m.Wait()
	kit.NothingLeft(t)
}

// Source: timeout(1): does not end what is stopped.
func TestAStoppedJobHasItsTimeLimit(t *testing.T) {
	m := interactive(t)
	m.Type("$R --timeout 1s --kill-after 1s $T -- sleep 60 | cat; echo status ${PIPESTATUS[0]}\n")
	time.Sleep(kit.Within(500 * time.Millisecond))
	m.Type("\x1a")
	m.Await("Stopped")
	time.Sleep(kit.Within(time.Second))
	m.Type("fg\n")
	m.Await("ran longer than its limit of 1s")
	leave(t, m)
}
