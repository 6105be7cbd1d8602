// Package review reads a policy as its administrator would want a colleague to read it:
// all mistakes, what has no effect on this machine, and what others may do. It changes
// nothing. Package main calls it.
package review

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"mayfly/runtime/access"
	"mayfly/runtime/cgroup"
	"mayfly/runtime/here"
	"mayfly/runtime/image"
	"mayfly/runtime/nearest"
	"mayfly/runtime/policy"
	"mayfly/runtime/policy/rule"
	"mayfly/runtime/privilege"
	"mayfly/runtime/user"
	"mayfly/runtime/user/passwd"
)

// The kinds of findings.
const (
	Mistake = "mistake" // with one anywhere, nobody runs anything
	Warning = "warning" // it has no effect, or not the one that it seems to have
	Note    = "note"    // it has effects that a reader may not expect
)

// A Finding is what a colleague would say about a place in the policy.
type Finding struct {
	Kind  string `json:"kind"`
	Place string `json:"place,omitempty"` // FILE:LINE, or FILE:LINE:COLUMN of a mistake
	Text  string `json:"text"`
}

// String returns the finding on a line.
func (f Finding) String() string {
	if f.Place == "" {
		return f.Kind + ": " + f.Text
	}
	return f.Place + ": " + f.Kind + ": " + f.Text
}

// A Report is the result of a review.
type Report struct {
	Rules    int       `json:"rules"`
	Findings []Finding `json:"findings"`
}

// Count returns the number of findings of a kind.
func (r Report) Count(kind string) (n int) {
	for _, f := range r.Findings {
		if f.Kind == kind {
			n++
		}
	}
	return n
}

// A reviewer collects findings.
type reviewer struct {
	here     here.Here
	granted  uint64   // capabilities that a launch has
	images   []string // of the store; nil: not known
	database *user.Database
	users    []string // the names of known users, for advice
	groups   []string
	report   Report
}

// Policy reviews the policy, or a file that is to become policy (name). granted are the
// capabilities that the program's grant permits. The caller must have the privileges of
// a launch still, or be root: the store may be closed to others. The error is of what
// could not be read.
func Policy(h here.Here, name string, granted uint64) (Report, error) {
	v := reviewer{here: h, granted: granted, report: Report{Findings: []Finding{}}}
	v.listImages()
	if err := privilege.Renounce(); err != nil { // a file is read with the caller's rights
		return v.report, err
	}
	var err error
	if v.database, err = user.Load(h); err != nil {
		return v.report, fmt.Errorf("read user database: %w", err)
	}
	v.users, v.groups = passwd.Names(v.database.Passwd), passwd.Names(v.database.Group)
	rules, _, err := policy.All(name, v.mistake)
	if err != nil {
		var at *rule.ErrAt
		if !errors.As(err, &at) {
			return v.report, err
		}
		v.mistake(err)
	}
	v.report.Rules = len(rules)
	if len(v.report.Findings) > 0 {
		return v.report, nil // what the rules say is not known
	}
	for i, r := range rules {
		v.people(r)
		v.reach(rules[:i], r)
		v.names(r)
		v.binds(r)
		v.machine(r)
		v.others(rules, i)
	}
	return v.report, nil
}

func (v *reviewer) mistake(err error) {
	f := Finding{Kind: Mistake, Text: err.Error()}
	var at *rule.ErrAt
	if errors.As(err, &at) {
		f.Place, f.Text = fmt.Sprintf("%s:%d:%d", at.Name, at.Line, at.Column), at.Unwrap().Error()
	}
	v.report.Findings = append(v.report.Findings, f)
}

func (v *reviewer) say(kind string, place rule.Place, format string, args ...any) {
	v.report.Findings = append(v.report.Findings, Finding{kind, place.String(), fmt.Sprintf(format, args...)})
}

// listImages lists the names of the store's images, if the caller may.
func (v *reviewer) listImages() {
	_ = access.WithStore(v.here, "", func(s *image.Store) error {
		list, err := s.List()
		if err == nil {
			v.images = []string{}
		}
		for _, d := range list {
			v.images = append(v.images, d.Name)
		}
		return err
	})
}

// people finds users and groups that nobody knows.
func (v *reviewer) people(r *rule.Rule) {
	for _, name := range r.Users {
		if _, err := strconv.ParseUint(name, 10, 32); err == nil {
			continue
		}
		if _, _, err := v.database.ByName(name); errors.Is(err, passwd.ErrUnknown) {
			v.say(Warning, r.PlaceOf("users"), "no user %s is known here%s", name, nearest.Advice(name, v.users, nil))
		}
	}
	for _, name := range r.Groups {
		if _, err := strconv.ParseUint(name, 10, 32); err == nil {
			continue
		}
		if _, err := v.database.GroupByName(name); errors.Is(err, passwd.ErrUnknownGroup) {
			v.say(Warning, r.PlaceOf("groups"), "no group %s is known here%s", name, nearest.Advice(name, v.groups, nil))
		}
	}
}

// reach finds a rule that is never asked.
func (v *reviewer) reach(earlier []*rule.Rule, r *rule.Rule) {
	for _, e := range earlier {
		if e.Hides(r) {
			v.say(Warning, r.Place(), "the rule is never asked: the one at %s comes first and is for all of its images and users", e.Place())
			return
		}
	}
}

// names finds globs that match no image.
func (v *reviewer) names(r *rule.Rule) {
	if v.images == nil {
		return
	}
	for _, glob := range r.Images {
		one := rule.Rule{Images: []string{glob}}
		if glob != "*" && !slices.ContainsFunc(v.images, one.Names) {
			v.say(Warning, r.PlaceOf("images"), "%s matches no image of the store%s", glob, nearest.Advice(glob, v.images, nil))
		}
	}
}

// binds finds paths that look like a source and a destination.
func (v *reviewer) binds(r *rule.Rule) {
	for _, b := range []struct {
		key  string
		list []string
	}{{"bind-ro", r.BindReadOnly}, {"bind", r.Bind}} {
		for _, path := range b.list {
			if _, err := os.Lstat(path); err != nil && strings.Contains(path, ":/") {
				v.say(Warning, r.PlaceOf(b.key), "there is no %q: a bind of the policy's is at the same place inside; SRC:DST is for --bind", path)
			}
		}
	}
}

// machine finds what this machine cannot keep.
func (v *reviewer) machine(r *rule.Rule) {
	have, err := cgroup.Controllers()
	if err != nil {
		have = nil
	}
	l := r.Limits
	for _, c := range []struct {
		key, controller string
		set             bool
	}{{"limits.memory", "memory", l.Memory != 0}, {"limits.swap", "memory", l.Swap != 0}, {"limits.tasks", "pids", l.Tasks != 0},
		{"limits.cpu", "cpu", l.CPU != 0}, {"limits.cpu-weight", "cpu", l.CPUWeight != 0}, {"limits.io-weight", "io", l.IOWeight != 0}} {
		if c.set && !slices.Contains(have, c.controller) {
			v.say(Warning, r.PlaceOf(c.key), "%s: this machine has no control group controller %s, so the rule runs nothing; `runtime doctor` says what to do", c.key, c.controller)
		}
	}
	if slices.Contains(r.Network, rule.NetworkPrivate) && v.granted&privilege.NetworkCapabilities == 0 {
		v.say(Warning, r.PlaceOf("network"), "network private: the grant has no cap_net_admin; `runtime grant` gives it")
	}
}

// others tells what everybody else may do with the images of a rule for some users.
func (v *reviewer) others(rules []*rule.Rule, i int) {
	r := rules[i]
	if r.ForAll() || r.Deny {
		return
	}
	for _, glob := range r.Images {
		for j, o := range rules {
			if j == i || !o.ForAll() || !o.HasAll(glob) {
				continue
			}
			if !o.Deny {
				v.say(Note, r.Place(), "everybody else may run %s, too, by the rule at %s; to keep them out, let a rule with images = [%q] and deny = true follow", glob, o.Place(), glob)
			}
			break
		}
	}
}
