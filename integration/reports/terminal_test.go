package reports

import (
	"fmt"
	"testing"

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
const background = `$R --name b $T -- sleep 600 </dev/null >/dev/null & until $X b true; do :; done 2>/dev/null; `

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

// The rest of the pipeline has the terminal to itself, as long as nothing inside wants it.
// Source: ssh, docker: -t in a pipeline to less leaves the terminal raw, and eats keys.
func TestAPagerInThePipeline(t *testing.T) {
	m := onTerminal(t, `$R $T -- sh -c 'seq 500; sleep 1; seq 501 900; sleep 2' | /bin/busybox less; echo status $?; read x; echo "got $x"`)
	before := m.Modes()
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
