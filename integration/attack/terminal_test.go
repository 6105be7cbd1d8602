package attack

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"mayfly/integration/kit"
)

// onTerminal starts a shell script on a terminal of a user's.
func onTerminal(t *testing.T, user, script string) *kit.Terminal {
	t.Helper()
	return kit.OnTerminal(t, user, kit.As(t, user, "bash", "-c", script))
}

// steal has the test user look for a terminal in all processes that they can look into,
// once somebody runs the helper's prey.
func steal(t *testing.T, m *kit.Terminal) kit.Result {
	t.Helper()
	return kit.Do(t, kit.As(t, kit.User, helper, "thief", m.Name()))
}

// robbed starts a container of the test user's with the helper in it.
func robbed(t *testing.T, w way) {
	t.Helper()
	cmd := w.cmd(t, "run", "--name", "robbed", "--bind-ro", helper+":/mnt/helper", kit.Image, "sleep", "600")
	kit.Must(t, cmd.Start())
	t.Cleanup(func() {
		kit.Root(t, "kill", "--signal", "KILL", kit.User+"/robbed")
		_ = cmd.Wait()
	})
	kit.Eventually(t, "the container runs", func() bool {
		return kit.Do(t, w.cmd(t, "exec", "robbed", "true")).Code == 0
	})
}

// Root's terminal is never a descriptor of another user's process, whichever of 0, 1
// and 2 it is; and what is typed and shown passes all the same.
func TestC33RootsTerminalInAnotherUsersContainer(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		t.Run("all", func(t *testing.T) {
			robbed(t, w)
			join := kit.Runtime + " exec %s " + kit.User + "/robbed /mnt/helper prey"
			run := kit.Runtime + " run %s --quiet --chdir / --user " + kit.User + " --bind-ro " + helper + ":/mnt/helper " + kit.Image + " /mnt/helper prey"
			for what, c := range map[string]struct{ flags, around, shows string }{
				"input and error":  {"", "%s | cat", "heard typed\r\nheard too typed"},
				"input":            {"", "%s 2>/dev/null | cat", "heard typed"},
				"output":           {"", "%s </dev/null 2>/dev/null", "heard nothing"},
				"error":            {"", "%s </dev/null >/dev/null", "heard too nothing"},
				"everything":       {"--no-tty", "%s", "heard typed\r\nheard too typed"},
				"a terminal of it": {"", "%s", "heard typed"},
				"by another name":  {"", "%s </dev/tty 2>/dev/null | cat", "heard typed"},
			} {
				for how, call := range map[string]string{"exec": join, "run": run} {
					m := onTerminal(t, "root", fmt.Sprintf(c.around, fmt.Sprintf(call, c.flags))+"; echo status ${PIPESTATUS[0]}")
					m.Type("typed\n")
					if r := steal(t, m); r.Code != 0 {
						t.Errorf("%s, %s: root's terminal is descriptor %s (exit %d)", how, what, r.Out, r.Code)
					}
					m.Await("status 7")
					for line := range strings.SplitSeq(c.shows, "\r\n") {
						m.Await(line)
					}
					m.Wait()
				}
			}
		})
	})
}

// The thief of the test above can steal: a caller's own terminal, of their own command.
// And what root shares with another user's command of a container of root's own is
// found there neither.
func TestC33WhoseTerminalIsPassed(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		t.Run("all", func(t *testing.T) {
			robbed(t, w)
			call := strings.Join(w.args("exec", "--no-tty", "robbed", "/mnt/helper", "prey"), " ")
			m := kit.OnTerminal(t, kit.User, w.as(t, kit.User, "bash", "-c", call+"; echo status $?"))
			m.Type("typed\n")
			if r := steal(t, m); r.Code != 1 || !strings.Contains(r.Out, "0 of ") {
				t.Errorf("of oneself: %+v", r)
			}
			m.Await("status 7")
			m.Wait()
		})
	})
	own := exec.Command(kit.Runtime, "run", "--name", "of-root", "--user", kit.User, "--chdir", "/", "--bind-ro", helper+":/mnt/helper", kit.Image, "sleep", "600")
	kit.Must(t, own.Start())
	kit.Eventually(t, "root's container runs", func() bool { return kit.Root(t, "exec", "of-root", "true").Code == 0 })
	m := onTerminal(t, "root", kit.Runtime+" exec of-root /mnt/helper prey | cat; echo status ${PIPESTATUS[0]}")
	m.Type("typed\n")
	if r := steal(t, m); r.Code != 0 {
		t.Errorf("of root's own container: %+v", r)
	}
	m.Await("status 7")
	m.Wait()
	kit.Root(t, "kill", "--signal", "KILL", "root/of-root")
	_ = own.Wait()
	rule(t, kit.AllModes)
	m = onTerminal(t, kit.User, kit.Runtime+" run --root --no-tty "+kit.Image+" sh -c 'test -t 0 || test -t 1 || test -t 2 || echo none'")
	m.Await("none")
	m.Wait()
	kit.NothingLeft(t)
}

// What root runs as another user, or in another user's container, in a pipeline, cannot
// ask root either: it would read what is typed for the rest of the pipeline.
func TestC33NobodyElseAsksRoot(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		t.Run("all", func(t *testing.T) {
			robbed(t, w)
			for _, call := range []string{"run --quiet --chdir / --user " + kit.User + " " + kit.Image, "exec " + kit.User + "/robbed"} {
				m := onTerminal(t, "root", kit.Runtime+" "+call+" sh -c 'true </dev/tty || echo no terminal' 2>&1 | cat; echo status $?")
				m.Await("no terminal")
				m.Await("status 0")
				m.Wait()
			}
		})
	})
	own := exec.Command(kit.Runtime, "run", "--name", "of-root", "--user", kit.User, "--chdir", "/", kit.Image, "sleep", "600")
	kit.Must(t, own.Start())
	kit.Eventually(t, "root's container runs", func() bool { return kit.Root(t, "exec", "of-root", "true").Code == 0 })
	m := onTerminal(t, "root", kit.Runtime+" exec of-root sh -c 'true </dev/tty || echo no terminal' 2>&1 | cat; echo status $?")
	m.Await("no terminal")
	m.Await("status 0")
	m.Wait()
	kit.Root(t, "kill", "--signal", "KILL", "root/of-root")
	_ = own.Wait()
}

// What is between changes nothing of what passes: all of it, in order, to the end, with
// the command's exit status.
func TestC33WhatIsRelayedIsWhole(t *testing.T) {
	run := kit.Runtime + " run --quiet --chdir / --user " + kit.User + " "
	big := kit.Times(1_200_000)
	m := onTerminal(t, "root", "stty -onlcr; "+run+"--no-tty "+kit.Image+" sh -c 'seq "+fmt.Sprint(big)+"; exit 3'; echo status $?")
	m.Await("status 3")
	var want strings.Builder
	for i := range big {
		fmt.Fprintln(&want, i+1)
	}
	if got := m.Shows(); got != want.String()+"status 3\n" {
		t.Errorf("%d bytes of %d", len(got), want.Len())
	}
	for what, c := range map[string]struct{ script, typed, shows string }{
		"standard error in its order": {run + "--no-tty " + kit.Image + " sh -c 'for i in 1 2 3 4 5 6; do echo o$i; echo e$i >&2; done'", "", "o1\r\ne1\r\no2\r\ne2\r\no3\r\ne3\r\no4\r\ne4\r\no5\r\ne5\r\no6\r\ne6\r\n"},
		"nobody reads":                {run + kit.Image + " sh -c 'while :; do echo y || kill -PIPE $$; done' | head -n 1; echo status ${PIPESTATUS[0]}", "", "status 141"},
		"the end of input":            {run + kit.Image + " sh -c 'cat; exit 4' | cat; echo status ${PIPESTATUS[0]}", "a\nb\n\x04", "a\r\nb\r\nstatus 4"},
		"who reads nothing":           {run + kit.Image + " true | cat; echo status ${PIPESTATUS[0]}", "", "status 0"},
		"who is not there":            {run + kit.Image + " nosuch | cat; read line; echo line $line", "kept\n", "line kept"},
		"interrupted":                 {"trap : INT; " + run + kit.Image + " sh -c 'trap \"echo caught; exit 5\" INT; echo ready; while :; do sleep 0.1; done' | (trap '' INT; cat); echo status ${PIPESTATUS[0]}", "", "caught"},
	} {
		m := onTerminal(t, "root", c.script)
		if what == "interrupted" {
			m.Await("ready")
			c.typed = "\x03"
		}
		m.Type(c.typed)
		m.Await(c.shows)
		m.Wait()
		if t.Failed() {
			t.Fatal(what)
		}
	}
	kit.NothingLeft(t)
}

// A command that does not read leaves what is typed for the next program, but for a
// line; one in the background all of it, and is not stopped.
func TestC33WhatIsTypedForOthers(t *testing.T) {
	run := kit.Runtime + " run --quiet --chdir / --user " + kit.User + " "
	m := onTerminal(t, "root", run+kit.Image+" sh -c 'echo ready; sleep 1' | cat; read line; echo line $line")
	m.Await("ready")
	m.Type("one\ntwo\n")
	m.Await("line two")
	m.Wait()
	m = kit.OnTerminal(t, "root", kit.As(t, "root", "bash", "--norc", "-i"))
	m.Await("# ")
	m.Type(run + kit.Image + " sh -c 'echo rea''dy; sleep 1; read line; echo got $line' 2>/dev/null | cat &\n")
	m.Await("ready")
	m.Type("echo by the sh''ell\n")
	m.Await("by the shell")
	time.Sleep(kit.Within(100 * time.Millisecond))
	m.Type("fg\n")
	time.Sleep(kit.Within(500 * time.Millisecond))
	m.Type("typed\n")
	m.Await("got typed")
	m.Type("exit\n")
	m.Wait()
	// One whose terminal goes is told that there is nothing more to read.
	m = onTerminal(t, "root", "trap '' HUP; exec "+run+kit.Image+" sh -c 'echo ready >&2; cat; exit 6' | cat")
	m.Await("ready")
	m.HangUp()
	m.Wait()
	kit.Eventually(t, "the container ends", func() bool { return len(kit.Inits(t)) == 0 })
	_ = syscall.Kill(-m.Cmd.Process.Pid, syscall.SIGKILL)
	kit.NothingLeft(t)
}
