package policy

import (
	"errors"
	"strings"
	"testing"

	"mayfly/runtime/policy/rule"
)

// Whatever a file says, it is a policy or an error with a place in it; and a rule that
// was read can be matched and told.
func FuzzParse(f *testing.F) {
	f.Add([]byte(DefaultText), "deb12-i386")
	f.Add([]byte("[[rule]]\nimages = [\"a-*\", 'b?', \"\"\"[c]\"\"\"]\nlimits = { time = \"4h\", cpu = 1.5 }\n[rule.limits]\nmemory = \"2G\"\n"), "b1")
	f.Add([]byte("store = \"\\u002Fx\"\naudit = false\n[[rule]]\n\"images\" = [\"*\"]\nlimits.containers = 0x10\n"), "x")
	f.Fuzz(func(t *testing.T, text []byte, image string) {
		lines := strings.Count(string(text), "\n") + 1
		into := rule.Contents{Main: true}
		err := rule.Parse("f", text, &into, func(r *rule.Rule) error {
			if _, err := r.Clone().Matches(image, caller(7, 50)); err != nil && !strings.Contains(err.Error(), "does not answer") {
				t.Errorf("match: %v", err)
			}
			for _, line := range r.Explain() {
				if line.Place.Line > lines {
					t.Errorf("%s is at line %d of %d", line.Name, line.Place.Line, lines)
				}
			}
			if len(r.Images) == 0 || r.Limits.Time < 0 || r.Limits.Memory < 0 {
				t.Errorf("rule %+v", r)
			}
			return nil
		})
		var place *rule.ErrAt
		if err != nil && (!errors.As(err, &place) || place.Line < 1 || place.Line > lines || place.Column < 1 || place.Name != "f") {
			t.Errorf("%v", err)
		}
		if into.Settings.Store != "" && into.Settings.Store[0] != '/' && err == nil {
			t.Errorf("store %q", into.Settings.Store)
		}
	})
}
