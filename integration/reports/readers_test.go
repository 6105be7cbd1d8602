package reports

import (
	"testing"
	"time"

	"mayfly/integration/kit"
)

// Who else of the job reads the terminal takes what was there, and nobody waits for it.
// Source: ssh in a loop that reads; docker run -t hangs after its command has ended.
func TestSomebodyElseReadsTheTerminal(t *testing.T) {
	for _, call := range []string{
		`$R $T -- sh -c 'echo rea''dy; sleep 2'`,
		`$R $T -- sh -c 'exec 3<>/dev/tty; echo rea''dy >&3; sleep 2' | cat`,
		background + `$X b sh -c 'echo rea''dy; sleep 2'; s=$?; kill $!; wait $!; (exit $s)`,
		background + `$X b sh -c 'exec 3<>/dev/tty; echo rea''dy >&3; sleep 2' | cat; s=$?; kill $!; wait $!; (exit $s)`,
	} {
		m := onTerminal(t, "cat </dev/tty >/dev/null & c=$!; "+call+"; echo status $?; kill $c")
		m.Await("ready")
		for range 200 {
			m.Type("x")
			time.Sleep(2 * time.Millisecond)
		}
		m.Await("status 0")
		m.Wait()
	}
	kit.NothingLeft(t)
}
