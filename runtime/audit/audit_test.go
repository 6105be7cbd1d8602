package audit

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mayfly/nsexec/inside"

	"golang.org/x/sys/unix"
)

var event = Event{Kind: End, UID: 1000, User: "dev", Image: "deb12", Container: "deb12-1", Command: []string{"sh", "-c", "make \"all\"\nMAYFLY_UID=0\x1b[31m", ""},
	Decision: Allowed, Rule: "/etc/mayfly/policy.toml:33", Result: "exit 0", Duration: 1500 * time.Millisecond}

func TestAnEventIsOneLineWhateverIsInIt(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	got := string(event.syslog(7, now))
	want := `<86>Nov 24 12:00:00 mayfly[7]: event=end uid=1000 user=dev image=deb12 container=deb12-1 command="sh -c \"make \\\"all\\\"\\nMAYFLY_UID=0\\x1b[31m\" \"\"" ` +
		`decision=allowed rule=/etc/mayfly/policy.toml:33 result="exit 0" duration=1.500`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	refused := event
	refused.Decision, refused.Image = Refused, "a\nMAYFLY_UID=0"
	for line := range strings.Lines(string(refused.journal())) {
		name, _, ok := strings.Cut(line, "=")
		if !ok || strings.ToUpper(name) != name || line == "MAYFLY_UID=0\n" {
			t.Errorf("line %q", line)
		}
	}
	if !strings.Contains(string(refused.journal()), "PRIORITY=5\n") {
		t.Error("a refusal is no notice")
	}
}

func TestALongCommandIsCut(t *testing.T) {
	long := event
	long.Command = make([]string, 100000)
	for i := range long.Command {
		long.Command[i] = "argument"
	}
	if n := len(long.journal()); n > 8192 {
		t.Errorf("%d bytes", n)
	}
}

func TestWhatIsNotKnownIsLeftOut(t *testing.T) {
	start := event
	start.Kind, start.Result, start.Version, start.Digest, start.Session, start.Dir, start.Lost = Start, "", 3, "sha256:0f", "work", "/home/d e\n", 2
	if got, want := start.line(), ` result="" duration=1.500 version=3 digest=sha256:0f session=work dir="/home/d e\\u000a" lost=2`; !strings.HasSuffix(got, want) || !strings.HasPrefix(got, "event=start ") {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := string(start.journal()); !strings.Contains(got, "MAYFLY_EVENT=start\n") || !strings.Contains(got, "MAYFLY_VERSION=3\n") {
		t.Errorf("%s", got)
	}
}

// A log that is full is waited for, and not for long; what it does not take is not
// thought to be there.
func TestAFullLogIsWaitedForAMoment(t *testing.T) {
	if !inside.AsRoot(t) { // in whose name events are sent
		return
	}
	socket := filepath.Join(t.TempDir(), "log")
	log, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for err == nil {
		err = send(socket, []byte("x"))
	}
	if err != unix.EAGAIN {
		t.Fatal(err)
	}
	read := make(chan error)
	go func() {
		time.Sleep(patience / 4)
		_, err := log.Read(make([]byte, 1))
		read <- err
	}()
	if err := errors.Join(send(socket, []byte("y")), <-read); err != nil {
		t.Errorf("a log that makes room in time: %v", err)
	}
}
