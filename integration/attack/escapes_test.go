package attack

import (
	"encoding/json"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"mayfly/integration/kit"
)

// deceits are characters of every class that a terminal obeys or that hides or turns
// round what is beside it: C0, DEL, C1, bidirectional controls, zero-width ones, tags,
// separators, private ones.
const deceits = "\x1b[31m\a\t\x7f\u009b2J\u0085\u200b\u200e\u202a\u202e\u2066\u2069\u2060\ufeff\u2028\u2029\ue000\U000e0041\U000f0000"

// shows fails if there is anything in an output that has no shape.
func shows(t *testing.T, what, text string) {
	t.Helper()
	bad := func(c rune) bool { return c != '\n' && !strconv.IsGraphic(c) }
	if i := strings.IndexFunc(text, bad); i >= 0 || !utf8.ValidString(text) {
		t.Errorf("%s: %.60q at %d of %.300q", what, text[max(i, 0):], i, text)
	}
}

// Whatever prints a name, a command or an error, as text or as JSON, prints what shows.
func TestC43Escapes(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		cmd := w.cmd(t, "run", "--quiet", "--name", "deceives", "--chdir", "/", kit.Image, "sh", "-c", "echo ready; sleep 600", deceits, "\xff")
		out, err := cmd.StdoutPipe()
		kit.Must(t, err)
		kit.Must(t, cmd.Start())
		defer func() { w.run(t, "kill", "deceives"); _ = cmd.Wait() }()
		_, err = out.Read(make([]byte, 16))
		kit.Must(t, err)
		for _, args := range [][]string{{"ps"}, {"ps", "--json"}, {"inspect", "deceives"}, {"run", "--dry-run", kit.Image, "echo", deceits, "\xff"}} {
			kit.Eventually(t, "it is listed", func() bool { return w.run(t, "exec", "deceives", "true").Code == 0 })
			r := w.run(t, args...)
			shows(t, strings.Join(args, " "), r.Out+r.Err)
			if r.Code != 0 || !strings.Contains(r.Out, "u009b") { // ps shows the beginning
				t.Errorf("%q: %+v", args, r)
			}
			if strings.HasPrefix(r.Out, "[") || strings.HasPrefix(r.Out, "{") {
				quoted, _ := json.Marshal(deceits)
				var decoded any
				if err := json.Unmarshal([]byte(r.Out), &decoded); err != nil {
					t.Errorf("%q: %v", args, err)
				}
				again, _ := json.Marshal(decoded)
				if !strings.Contains(string(again), strings.Trim(string(quoted), `"`)) {
					t.Errorf("%q: the command is another: %s", args, again)
				}
			}
		}
		for _, args := range [][]string{{deceits}, {"run", deceits, "true"}, {"run", kit.Image, deceits}, {"run", "--bind", "/" + deceits, kit.Image, "true"}, {"inspect", deceits},
			{"policy", "check", deceits}, {"policy", "explain", "--user", deceits, kit.Image}, {"grant", "--check", "/" + deceits}, {"run", "--" + deceits, kit.Image}} {
			r := w.run(t, args...)
			shows(t, strings.Join(args, " "), r.Out+r.Err)
			if r.Code == 0 {
				t.Errorf("%q: %+v", args, r)
			}
		}
	})
}

// The names of files in an image, where two versions differ.
func TestC43NamesInImages(t *testing.T) {
	kit.Change(t, "attack-escapes", "true")
	name := filepath.Join(kit.Store, "attack-escapes")
	write(t, filepath.Join(name, "srv", "x"+deceits), "x")
	for _, args := range [][]string{{"image", "diff", kit.Base, "attack-escapes"}, {"image", "diff", "--json", kit.Base, "attack-escapes"}} {
		r := kit.Root(t, args...)
		shows(t, strings.Join(args, " "), r.Out+r.Err)
		if !strings.Contains(r.Out, "u202e") {
			t.Errorf("%q: %.2000v", args, r)
		}
	}
}
