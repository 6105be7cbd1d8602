package reports

import (
	"fmt"
	"testing"
	"time"

	"mayfly/integration/kit"
)

// A job stops though its command has ended, or has been stopped already.
// Source: docker run | less: Ctrl-Z hangs the shell.
func TestAJobStopsWithoutItsCommand(t *testing.T) {
	m := interactive(t)
	m.Type("$R --name b $T -- sleep 600 & until $X b true; do sleep 0.1; done 2>/dev/null; echo rea''dy\n")
	m.Await("ready")
	for i, c := range []struct{ job, stop string }{
		{"$R --output-limit 100M $T -- sh -c 'seq 30000; echo beg''un >&2' | (sleep 2; wc -l)", ""},
		{"$X --no-tty b sh -c 'seq 1000' | (sleep 2; wc -l)", ""},
		{"$R --name s $T -- sh -c 'echo beg''un; sleep 2; echo 2; echo 3' | wc -l", "s"},
		{"$R --name s --no-tty $T -- sh -c 'echo beg''un >&2; sleep 2; echo' | wc -l", "s"},
	} {
		m.Type(fmt.Sprintf("echo %d''th; %s\n", i, c.job))
		m.Await(fmt.Sprintf("\n%dth", i))
		time.Sleep(kit.Within(500 * time.Millisecond))
		if c.stop != "" {
			if r := kit.Run(t, "kill", "--signal", "STOP", c.stop); r.Code != 0 {
				t.Errorf("%+v", r)
			}
		}
		m.Type("\x1a")
		time.Sleep(kit.Within(300 * time.Millisecond))
		m.Type(fmt.Sprintf("echo %d sh''ell\n", i))
		m.Await(fmt.Sprintf("%d shell", i))
		m.Type("fg\n")
		time.Sleep(kit.Within(3 * time.Second))
		m.Type(fmt.Sprintf("echo %d af''ter $?\n", i))
		m.Await(fmt.Sprintf("%d after 0", i))
	}
	m.Type("kill %1; wait; echo all en''ded\n")
	m.Await("all ended")
	leave(t, m)
}
