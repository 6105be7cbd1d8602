package reports

import (
	"fmt"
	"testing"
)

// Who has made standard input, output or error one that does not wait (O_NONBLOCK), an
// event loop for instance, gets what everybody gets.
func TestDescriptorsThatDoNotWait(t *testing.T) {
	var cases []report
	for fd := range 3 {
		with := fmt.Sprintf(`with() { exec perl -MFcntl -e 'open my $f, "+<&=", %d or die; fcntl($f, F_SETFL, O_RDWR | O_NONBLOCK) or die; exec @ARGV' "$@"; }
			cd /home; `, fd)
		around := func(command string) string {
			return with + `{ sleep .2; echo typed; } | { (` + command + `); echo status $? >&2; } 2>&1 | cat`
		}
		source := "Node.js, Go: O_NONBLOCK of a pipe is inherited (EAGAIN, resource temporarily unavailable)"
		cases = append(cases,
			report{name: fmt.Sprintf("version with %d", fd), source: source,
				do: around(`with ${R% run} version | cut -c 1-7`), out: "mayfly \nstatus 0\n"},
			report{name: fmt.Sprintf("ps with %d", fd), source: source,
				do: around(`with ${R% run} ps | cut -c 1-4`), out: "NAME\nstatus 0\n"},
			report{name: fmt.Sprintf("run with %d", fd), source: source,
				do: around(`with $R $T -- sh -c 'ls /proc/self/fd; echo to error >&2; exit 3'`), out: "0\n1\n2\n3\nto error\nstatus 3\n"},
			report{name: fmt.Sprintf("a lock with %d", fd), source: source,
				do: with + `cd "$OLDPWD"; (flock -n 9; cd /home; with $R $T -- sh -c 'sleep 1; exit 4') 9>lk </dev/null 2>&1 | cat &
					sleep .5; flock -n lk true || echo held; wait; flock -n lk echo free`, out: "held\nfree\n"},
			report{name: fmt.Sprintf("nothing of ours is passed with %d", fd), source: source,
				do: around(`with $R --preserve-fds 1 $T -- true 2>&1 | grep -o 'descriptor 3 .*'`), out: "descriptor 3 is not open\nstatus 0\n"},
		)
	}
	hold(t, cases)
}
