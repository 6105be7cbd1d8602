package vm

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"mayfly/integration/kit"
)

// A result is how one group of tests ended in a machine.
type result struct {
	group          string
	passed, failed int
}

// count adds a test to the machine's results.
func (m *Machine) count(group string, passed bool) {
	if len(m.results) == 0 || m.results[len(m.results)-1].group != group {
		m.results = append(m.results, result{group: group})
	}
	last := &m.results[len(m.results)-1]
	if passed {
		last.passed++
	} else {
		last.failed++
	}
}

// tell prints a machine's results, and appends them to the file that MAYFLY_RESULTS names: the tables of docs/platforms.md.
func tell(t *testing.T, m *Machine) {
	what, _, err := m.Do(`. /etc/os-release; echo "$PRETTY_NAME, Linux $(uname -r), systemd $(systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p')"`, time.Minute, nil)
	if err != nil {
		t.Error(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n%s, %s.\n\n| tests | passed | failed |\n|---|---|---|\n", strings.TrimSpace(what), os.Getenv("MAYFLY_VERSION"), time.Now().UTC().Format(time.DateOnly))
	for _, r := range m.results {
		fmt.Fprintf(&b, "| %s | %d | %d |\n", r.group, r.passed, r.failed)
	}
	t.Logf("\n%s", b.String())
	name := os.Getenv("MAYFLY_RESULTS")
	if name == "" {
		return
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	kit.Must(t, err)
	defer file.Close()
	_, err = file.WriteString(b.String() + "\n")
	kit.Must(t, err)
}
