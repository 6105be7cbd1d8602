package vm

import (
	"encoding/json"
	"regexp"
	"testing"
	"time"

	"mayfly/integration/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// A scenario is a script that runs in the machine, as root, and what its output must
// hold.
type scenario struct {
	name, script string
	want         []string // regular expressions
}

// check compares what a scenario's script wrote with what it must.
func (s scenario) check(t *testing.T, out string) {
	t.Helper()
	for _, want := range s.want {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if s.name == "processor" {
		checkProcessor(t, out)
	}
}

// checkProcessor wants a fifth of a processor, and something for the kernel's own
// measure.
func checkProcessor(t *testing.T, out string) {
	var used struct{ WallSeconds, UserSeconds, SystemSeconds float64 }
	if err := json.Unmarshal([]byte(out), &used); err != nil {
		t.Fatalf("%v in %q", err, out)
	}
	if share := (used.UserSeconds + used.SystemSeconds) / used.WallSeconds; share < 0.05 || share > 0.3 {
		t.Errorf("%.2f of a processor, want 0.2", share)
	}
}

// play runs scenarios in a machine, one after the other, and counts in the machine's
// results how they ended.
func (m *Machine) play(t *testing.T, group string, scenarios []scenario) {
	for _, s := range scenarios {
		m.count(t, group, t.Run(s.name, func(t *testing.T) {
			out, _, err := m.Do(s.script, 10*time.Minute, nil)
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			s.check(t, out)
		}))
	}
}
