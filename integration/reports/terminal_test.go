package reports

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mayfly/integration/kit"
)

// onTerminal runs a script as the ordinary user on a terminal, as a report has it.
func onTerminal(t *testing.T, script string) *kit.Terminal {
	t.Helper()
	cmd := kit.As(t, kit.User, "bash", "-c", script)
	cmd.Dir = workspace(t)
	cmd.Env = append(cmd.Env, "R="+kit.Runtime+" run --quiet", "X="+kit.Runtime+" exec", "T="+kit.Image, "PWD="+cmd.Dir)
	return kit.OnTerminal(t, kit.User, cmd)
}

// background begins a container that other commands can join.
const background = `$R --name b $T -- sleep 600 </dev/null >/dev/null & until $X --no-tty b true; do :; done 2>/dev/null; `

// Source: docker: -t mixes stdout and stderr, 2> redirects nothing.
func TestStandardErrorGoesWhereItIsSent(t *testing.T) {
	const job = ` sh -c 'test -t 0 && test -t 1 && echo on a terminal; echo to a file >&2'`
	for _, call := range []string{"$R $T --" + job, "$R --log l $T --" + job, "$R --output-limit 1M $T --" + job,
		background + "$X b" + job} {
		m := onTerminal(t, call+" 2>err; echo status $?; echo \"[$(cat err)]\"; kill $!; wait")
		m.Await("on a terminal\r\n")
		m.Await("status 0")
		m.Await("[to a file]\r\n")
		m.Wait()
	}
	kit.NothingLeft(t)
}

// A command in a pipeline asks the user. Source: docker, podman: ssh-keygen, gpg, sudo
// in a pipe: no such device /dev/tty.
func TestACommandInAPipelineAsksTheUser(t *testing.T) {
	for call, shows := range map[string]string{
		`$R $T -- sh -c 'read x </dev/tty; echo got $x' | cat`:                                                                "got typed",
		`$R $T -- sh -c 'read x </dev/tty; echo got $x' >out; cat out`:                                                        "got typed",
		`echo piped | $R $T -- sh -c 'read y; read x </dev/tty; echo got $y $x'`:                                              "got piped typed",
		`$R --log l $T -- sh -c 'read x </dev/tty; echo got $x' | cat`:                                                        "got typed",
		`$R $T -- sh -c 'printf prompt: >/dev/tty; read x </dev/tty; echo got $x' | cat`:                                      "prompt:",
		`$R $T -- sh -c 'read y; read x </dev/tty; echo got $x' </dev/null 2>/dev/null`:                                       "got typed",
		`$R --no-tty $T -- sh -c 'true </dev/tty || echo no terminal' | cat`:                                                  "no terminal",
		`$R $T -- sh -c 'true </dev/tty || echo no terminal' </dev/null 2>&1 | cat`:                                           "no terminal",
		`$R $T -- sh -c 'tty </dev/tty; stty size </dev/tty; read x </dev/tty; echo got' | cat`:                               "33 111",
		background + `$X b sh -c 'read x </dev/tty; echo got $x' | cat; kill $!; wait`:                                        "got typed",
		strings.Replace(background, "$R", "$R --root", 1) + `$X b sh -c 'read x </dev/tty; echo got $x' | cat; kill $!; wait`: "got typed",
	} {
		m := onTerminal(t, call+"; echo status $?")
		before := m.Before
		time.Sleep(kit.Within(300 * time.Millisecond))
		m.Type("typed\r")
		m.Await(shows)
		m.Await("status 0")
		m.Wait()
		if m.Modes() != before {
			t.Errorf("%s: the terminal is not as it was", call)
		}
	}
	kit.NothingLeft(t)
}

// What is typed goes to the program that asks for it on /dev/tty, not to the reader of
// standard input.
func TestAQuestionGoesBeforeStandardInput(t *testing.T) {
	m := interactive(t)
	m.Type("$R $T -- sh -c 'echo rea''dy >&2; read x </dev/tty; echo got $x; read x; echo and $x' | cat &\n")
	m.Await("ready")
	m.Type("fg\n")
	time.Sleep(kit.Within(500 * time.Millisecond))
	m.Type("first\n")
	m.Await("got first")
	time.Sleep(kit.Within(500 * time.Millisecond))
	m.Type("second\n")
	m.Await("and second")
	time.Sleep(kit.Within(200 * time.Millisecond)) // what is typed before its end may be the job's
	leave(t, m)
}

// A passphrase is not shown.
func TestAPassphraseInAPipeline(t *testing.T) {
	m := onTerminal(t, `$R $T -- sh -c 'exec 3<>/dev/tty; stty -echo <&3; echo prompt: >&3; read x <&3; stty echo <&3; echo "of ${#x} characters"' | cat; echo done`)
	m.Await("prompt:")
	m.Type("secret\r")
	m.Await("of 6 characters")
	m.Await("done")
	m.Wait()
	if strings.Contains(m.Shows(), "secret") {
		t.Errorf("the terminal shows the passphrase:\n%s", m.Shows())
	}
	kit.NothingLeft(t)
}

// The rest of the pipeline has the terminal to itself, as long as nothing inside wants
// it. Source: ssh, docker: -t in a pipeline to less leaves the terminal raw, and eats
// keys.
func TestAPagerInThePipeline(t *testing.T) {
	m := onTerminal(t, `$R $T -- sh -c 'seq 500; sleep 1; seq 501 900; sleep 2' | /bin/busybox less; echo status $?; read x; echo "got $x"`)
	before := m.Before
	m.Await("[K20")
	for i := range 12 {
		m.Type(" ")
		m.Await(fmt.Sprint("[K", 32*(i+2)))
	}
	m.Type("q")
	m.Await("status 0")
	if m.Modes() != before {
		t.Error("the terminal is not as it was")
	}
	m.Type("for the next\n")
	m.Await("got for the next")
	m.Wait()
	kit.NothingLeft(t)
}

// Where there is no terminal, there is none inside.
func TestNoTerminalAtAll(t *testing.T) {
	hold(t, []report{
		{name: "without a terminal none is there", source: "docker: the input device is not a TTY, in CI",
			do: `cd /home; setsid -w $R $T -- sh -c 'true 2>/dev/null </dev/tty || echo none'`, out: "none\n"},
	})
}

// Source: systemd-nspawn, timeout(1): one line for what has happened.
func TestALimitIsToldOnce(t *testing.T) {
	for flags, line := range map[string]string{"--timeout 200ms": "longer than its limit of 200ms", "--output-limit 10": "more than its limit of 10 bytes"} {
		m := onTerminal(t, kit.Runtime+" run "+flags+" $T -- sh -c 'echo 0123456789abcdef; exec sleep 60'; echo status $?")
		m.Await("status 124")
		m.Wait()
		if shows := m.Shows(); strings.Count(shows, "limit") != 1 || !strings.Contains(shows, line) {
			t.Errorf("%s:\n%s", flags, shows)
		}
	}
	kit.NothingLeft(t)
}
