package reports

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mayfly/integration/kit"
)

// interactive is an interactive shell of the ordinary user's on a terminal, where $R and
// $T are as in a report.
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
			kit.Root(t, "kill", "--signal", "KILL", "--all")
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
