package vm

import (
	"fmt"
	"os"
	"path/filepath"
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

// introduce asks a machine what it is, for its table, which is printed at the end of
// the test.
func (m *Machine) introduce(t *testing.T) {
	t.Helper()
	m.what = strings.TrimSpace(m.Must(t,
		`. /etc/os-release; echo "$PRETTY_NAME, Linux $(uname -r), systemd $(systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p')"`))
	t.Cleanup(func() { t.Log("\n" + m.table()) })
}

// count adds a test to the machine's results. The directory that MAYFLY_RESULTS names,
// if any, gets the table so far: a run takes hours, and may be ended.
func (m *Machine) count(t *testing.T, group string, passed bool) {
	t.Helper()
	if len(m.results) == 0 || m.results[len(m.results)-1].group != group {
		m.results = append(m.results, result{group: group})
	}
	last := &m.results[len(m.results)-1]
	if passed {
		last.passed++
	} else {
		last.failed++
	}
	if dir := os.Getenv("MAYFLY_RESULTS"); dir != "" {
		kit.Must(t, os.WriteFile(filepath.Join(dir, m.Suite+".md"), []byte(m.table()), 0o644))
	}
}

// table is the machine's results as docs/platforms.md has them.
func (m *Machine) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n%s, %s.\n\n| tests | passed | failed |\n|---|---|---|\n", m.what, os.Getenv("MAYFLY_VERSION"), time.Now().UTC().Format(time.DateOnly))
	for _, r := range m.results {
		fmt.Fprintf(&b, "| %s | %d | %d |\n", r.group, r.passed, r.failed)
	}
	return b.String()
}
