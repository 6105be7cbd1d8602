// Package reports holds cases of other people's bug reports, of tools that do what
// Mayfly does: what runs inside is what was called outside. Each has its source, what a
// user does, and what must come out.
package reports

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

func TestMain(m *testing.M) { kit.Main(m) }

// A report is a case: a shell script that the ordinary user runs, and how it must end.
//
// The script begins in a new directory of the user's that is not in /home. $R is
// `runtime run`, $T an image.
type report struct {
	name   string // what must hold, as a sentence
	source string // the tool, and the words to find the report by
	do     string
	out    string // all of standard output
	err    string // a part of standard error; "": nothing is there
	code   int
}

// hold runs each report as a test.
func hold(t *testing.T, reports []report) {
	t.Helper()
	for _, r := range reports {
		t.Run(strings.ReplaceAll(r.name, " ", "_"), func(t *testing.T) {
			got := r.run(t, workspace(t))
			if got.Out != r.out || got.Code != r.code {
				t.Errorf("%s: %s\n%q, status %d; want %q, %d\n%s", r.source, r.do, got.Out, got.Code, r.out, r.code, got.Err)
			}
			if !strings.Contains(got.Err, r.err) || r.err == "" && got.Err != "" {
				t.Errorf("%s: %s\nsays %q, want %q", r.source, r.do, got.Err, r.err)
			}
		})
	}
	kit.NothingLeft(t)
}

func (r report) run(t *testing.T, dir string) kit.Result {
	t.Helper()
	cmd := kit.As(t, kit.User, "sh", "-c", r.do)
	cmd.Dir = dir
	cmd.Env = append(cmd.Env, "R="+kit.Runtime+" run", "T="+kit.Image, "PWD="+dir)
	return kit.Do(t, cmd)
}

const dropIn = "/etc/mayfly/policy.d/00-reports.toml"

// rule puts a rule before the machine's policy, for as long as the test.
func rule(t *testing.T, text string) {
	t.Helper()
	kit.Must(t, os.MkdirAll(filepath.Dir(dropIn), 0o755))
	kit.Must(t, os.WriteFile(dropIn, []byte(text), 0o644))
	t.Cleanup(func() { kit.Must(t, os.Remove(dropIn)) })
}

// workspace makes a directory of the ordinary user's where continuous integration has
// one: not in /home.
func workspace(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/srv", "workspace-")
	kit.Must(t, err)
	t.Cleanup(func() { kit.Must(t, os.RemoveAll(dir)) })
	_, uid, gid := kit.Lookup(t, kit.User)
	kit.Must(t, os.Chown(dir, int(uid), int(gid)))
	return dir
}
