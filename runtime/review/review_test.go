package review

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mayfly/runtime/here"
	"mayfly/runtime/policy/rule"
)

func found(t *testing.T, text string) []string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "p.toml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	report, err := Policy(here.Here{}, name, 0)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range report.Findings {
		if !strings.Contains(f.Text, "matches no image") { // the machine's store may have some
			lines = append(lines, strings.ReplaceAll(f.String(), name, "p"))
		}
	}
	return lines
}

func TestFindings(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string // what the findings begin with
	}{
		{"[[rule]]\nimages = [\"*\"]\n", nil},
		{"[[rule]]\nimages = [\"*\"]\nusers = [\"rot\", \"0\"]\ngroups = [\"nosuchgroup\"]\n",
			[]string{"p:3: warning: no user rot is known here; did you mean root?", "p:4: warning: no group nosuchgroup is known here"}},
		{"[[rule]]\nimages = [\"*\"]\n[[rule]]\nimages = [\"a\"]\nusers = [\"root\"]\n",
			[]string{"p:3: warning: the rule is never asked: the one at p:1 comes first", "p:3: note: everybody else may run a, too, by the rule at p:1;"}},
		{"[[rule]]\nimages = [\"a-*\"]\nusers = [\"root\"]\n[[rule]]\nimages = [\"a-*\"]\ndeny = true\n[[rule]]\nimages = [\"*\"]\n", nil},
		{"[[rule]]\nimages = [\"a-*\"]\ngroups = [\"root\"]\n[[rule]]\nimages = [\"*\"]\n", []string{"p:1: note: everybody else may run a-*, too, by the rule at p:4;"}},
		{"[[rule]]\nimages = [\"a-*\"]\ngroups = [\"root\"]\n", nil},
		{"bind-ro = [\"/etc:/x\", \"/nosuch\"]\n[[rule]]\nimages = [\"*\"]\nnetwork = [\"private\"]\n",
			[]string{`p:1: warning: there is no "/etc:/x": a bind of the policy's is at the same place inside`, "p:4: warning: network private: the grant has no cap_net_admin"}},
		{"[[rule]]\nimages = [\"*\"]\ndevices = [\"/dev/pts\"]\nbnid = []\n", []string{`p:4:1: mistake: unknown key "bnid"; did you mean bind?`, "mistake: p:3: devices: /dev/pts"}},
		{"[[rule]]\nimages = [\n", []string{"p:"}},
	} {
		got := found(t, c.text)
		if len(got) != len(c.want) {
			t.Errorf("%q: %q", c.text, got)
			continue
		}
		for i, want := range c.want {
			if !strings.HasPrefix(got[i], want) {
				t.Errorf("%q: %q, want %q", c.text, got[i], want)
			}
		}
	}
	if _, err := Policy(here.Here{}, "/not/there", 0); err == nil {
		t.Error("a file that is not there")
	}
}

func TestAFileForATeamSaysWhatItIsToldTo(t *testing.T) {
	team := Team{Images: []string{`deb1[0-9\-]*`, "b"}, Groups: []string{"devs"}, Users: []string{"ci"}}
	text, err := team.Text()
	if err != nil {
		t.Fatal(err)
	}
	var rules []*rule.Rule
	if err := rule.Parse("t", []byte(text), &rule.Contents{}, func(r *rule.Rule) error { rules = append(rules, r.Clone()); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(rules) != 2 || !slices.Equal(rules[0].Images, team.Images) || !slices.Equal(rules[0].Groups, team.Groups) || !slices.Equal(rules[0].Users, team.Users) ||
		rules[0].Deny || !rules[1].Deny || !rules[1].ForAll() || !slices.Equal(rules[1].Images, team.Images) {
		t.Errorf("%s", text)
	}
	team.Shared = true
	if text, err = team.Text(); err != nil || strings.Contains(text, "deny") {
		t.Errorf("%v, %s", err, text)
	}
	for _, bad := range []Team{{Images: []string{"[a"}, Users: []string{"x"}}, {Images: []string{"a"}, Users: []string{"-x"}}, {Users: []string{"x"}}, {Images: []string{"a\nb"}, Users: []string{"x"}}} {
		if text, err := bad.Text(); err == nil {
			t.Errorf("%+v: %s", bad, text)
		}
	}
}
