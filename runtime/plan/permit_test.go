package plan

import (
	"errors"
	"strings"
	"testing"
	"time"

	"mayfly/runtime/policy/rule"
)

func TestTheRuleBoundsTheRequest(t *testing.T) {
	strict := rule.Decision{Rule: rule.Rule{Network: []string{"host"}}}
	for what, c := range map[string]struct {
		request Request
		change  func(*rule.Decision)
		refused string // "": permitted
	}{
		"nothing asked":          {Request{}, nil, ""},
		"writable":               {Request{Writable: true}, nil, "--writable"},
		"writable, allowed":      {Request{Writable: true}, func(d *rule.Decision) { d.Writable = true }, ""},
		"the whole environment":  {Request{EnvAll: true}, nil, "--env-all"},
		"another personality":    {Request{Personality: "x86"}, func(d *rule.Decision) { d.Personality = "x86-64" }, "--personality x86: not allowed by the policy: built in allows x86-64 only"},
		"the same personality":   {Request{Personality: "x86"}, func(d *rule.Decision) { d.Personality = "x86" }, ""},
		"any personality":        {Request{Personality: "x86"}, nil, ""},
		"a bind":                 {Request{Binds: []Bind{{Source: "/a"}}}, nil, "bind"},
		"a bind, read-only ones": {Request{Binds: []Bind{{Source: "/a"}}}, func(d *rule.Decision) { d.AllowBindReadOnly = []string{"/srv", "/opt"} }, "allows only --bind-ro, below /srv, /opt"},
		"a read-only bind":       {Request{Binds: []Bind{{Source: "/a", ReadOnly: true}}}, func(d *rule.Decision) { d.AllowBindReadOnly = []string{"/"} }, ""},
		"root":                   {Request{Writable: true, EnvAll: true, Binds: []Bind{{Source: "/a"}}}, func(d *rule.Decision) { d.Unbound = true }, ""},
	} {
		d := strict
		if c.change != nil {
			c.change(&d)
		}
		err := Permitted(c.request, d)
		if c.refused == "" && err != nil || c.refused != "" && (!errors.Is(err, rule.ErrDenied) || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%s: %v, want %q", what, err, c.refused)
		}
	}
}

func TestNetworksOfTheRule(t *testing.T) {
	for _, c := range []struct {
		rule           []string
		asked, remote  string
		network, wrong string
	}{
		{[]string{"host"}, "", "", "host", ""},
		{[]string{"host"}, "none", "", "", "--network none: not allowed"},
		{[]string{"none", "host"}, "", "", "none", ""},
		{[]string{"none", "host"}, "host", "", "host", ""},
		{[]string{"none"}, "host", "", "", "--network host: not allowed"},
		{[]string{"none"}, "join:a", "none", "join:a", ""},
		{[]string{"host"}, "join:a", "none", "", "--network join:a: not allowed"},
		{[]string{"none"}, "join:a", "", "", "no network of its own"},
		{nil, "", "", "", "names no network"},
		{[]string{"host"}, "mars", "", "", "want host, none"},
	} {
		f := facts()
		f.Policy.Network, f.Neighbour.Network = c.rule, c.remote
		p, err := New(Request{Image: "deb12-i386", Command: []string{"make"}, Network: c.asked}, f)
		if c.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		if err != nil || p.Network != c.network || (p.NetworkMode == "") != (c.network == "host") {
			t.Errorf("%+v: %+v, %v", c, p, err)
		}
	}
	f := facts()
	f.Policy = rule.Decision{Settings: f.Policy.Settings, Unbound: true}
	if p := plan(t, Request{Image: "deb12-i386"}, f); p.Network != rule.NetworkHost {
		t.Errorf("root: %q", p.Network)
	}
}

func TestTimeIsBoundedWhateverIsAsked(t *testing.T) {
	const limit = time.Hour
	for _, c := range []struct{ asked, kill, timeout, killAfter time.Duration }{
		{0, time.Minute, limit, mostKillAfter}, {time.Minute, 0, time.Minute, 0}, {99 * limit, 99 * limit, limit, mostKillAfter},
	} {
		p := &Plan{Timeout: c.asked, KillAfter: c.kill}
		p.applyLimits(Resources{}, rule.Decision{Rule: rule.Rule{Limits: rule.Limits{Time: limit, Containers: 3}}})
		if p.Timeout != c.timeout || p.KillAfter != c.killAfter || p.Containers != 3 || p.AtMost() != c.timeout+c.killAfter+grace {
			t.Errorf("asked for %v and %v: %v and %v", c.asked, c.kill, p.Timeout, p.KillAfter)
		}
	}
	root := &Plan{Timeout: 2 * limit}
	root.applyLimits(Resources{}, rule.Decision{Unbound: true, Rule: rule.Rule{Limits: rule.Limits{Time: limit, Containers: 3}}})
	if root.Timeout != 2*limit || root.Containers != 0 || (&Plan{}).AtMost() != 0 {
		t.Errorf("root: %+v", root)
	}
}

func TestWithin(t *testing.T) {
	for _, c := range []struct {
		name, dir string
		want      bool
	}{
		{"/srv", "/srv", true}, {"/srv/a", "/srv", true}, {"/srv/a", "/srv/", true}, {"/srvx", "/srv", false}, {"/", "/srv", false},
		{"/anything", "/", true}, {"/", "/", true}, {"/srv", "/srv/a", false},
	} {
		if got := Within(c.name, c.dir); got != c.want {
			t.Errorf("%s within %s: %v", c.name, c.dir, got)
		}
	}
}
