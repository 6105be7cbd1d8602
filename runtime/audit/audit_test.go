package audit

import (
	"strings"
	"testing"
	"time"
)

var event = Event{UID: 1000, User: "dev", Image: "deb12", Container: "deb12-1", Command: []string{"sh", "-c", "make \"all\"\nMAYFLY_UID=0\x1b[31m", ""},
	Decision: Allowed, Rule: "/etc/mayfly/policy.toml:33", Result: "exit 0", Duration: 1500 * time.Millisecond}

func TestAnEventIsOneLineWhateverIsInIt(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	got := string(event.syslog(7, now))
	want := `<86>Nov 24 12:00:00 mayfly[7]: uid=1000 user=dev image=deb12 container=deb12-1 command="sh -c \"make \\\"all\\\"\\nMAYFLY_UID=0\\x1b[31m\" \"\"" ` +
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
