package review

import (
	"fmt"
	"strings"

	"mayfly/runtime/policy"
	"mayfly/runtime/policy/rule"
)

// A Team is what a new file of the policy is for.
type Team struct {
	Images, Users, Groups []string
	Shared                bool // everybody else may run the images, too, by later rules
}

// Text returns the text of a file of policy.d: a rule for the team and, unless the
// images are shared, one that denies them to everybody else. The error is of what is no
// policy.
func (t Team) Text() (string, error) {
	var b strings.Builder
	b.WriteString("# Rules are asked in the order of the files' names; the first that fits decides.\n\n[[rule]]\n")
	line := func(key string, list []string) {
		if len(list) > 0 {
			fmt.Fprintf(&b, "%-11s = %s\n", key, rule.QuoteList(list))
		}
	}
	line("images", t.Images)
	line("users", t.Users)
	line("groups", t.Groups)
	b.WriteString(`allow-bind  = ["/"]             # --bind and --bind-ro of what the caller may read themself
bind-cwd    = true
bind-home   = true
writable    = true              # --writable; changes are discarded
env-all     = true
root-inside = true              # --root, for callers with ids in /etc/subuid and /etc/subgid
network     = ["host", "none"]  # the first is the default
# limits    = { containers = 8, time = "4h" }
`)
	if !t.Shared {
		b.WriteString("\n[[rule]]                        # everybody else\n")
		line("images", t.Images)
		b.WriteString("deny        = true\n")
	}
	text := b.String()
	if _, err := policy.CheckText("the new rule", []byte(text)); err != nil {
		return "", err
	}
	return text, nil
}
