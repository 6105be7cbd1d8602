package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mayfly/runtime/policy/rule"
)

// rules parses text as policy.toml and returns its rules.
func rules(text string) ([]rule.Rule, rule.Settings, error) {
	var list []rule.Rule
	into := rule.Contents{Main: true}
	err := rule.Parse("policy.toml", []byte(text), &into, func(r *rule.Rule) error {
		list = append(list, *r.Clone())
		return nil
	})
	return list, into.Settings, err
}

func TestARuleHasWhatItSaysAndWhatStandsBefore(t *testing.T) {
	list, settings, err := rules(`
store = "/srv/images"
bind = ["/work"]
[[rule]]
images = ["a-*", "b"]
users = ["ci"]
bind-ro = []
allow-bind = ["/srv"]
writable = true
limits = { containers = 3, memory = "2G", cpu = 1.5 }
[[rule]]
images = ["*"]
deny = true
network = ["host", "none"]
limits.time = "4h"
[[rule]]
images = ["c"]
[rule.limits]
tasks = 1_000
`)
	if err != nil || len(list) != 3 || settings.Store != "/srv/images" {
		t.Fatalf("%d rules, %+v, %v", len(list), settings, err)
	}
	a, b, c := list[0], list[1], list[2]
	if !slices.Equal(a.Images, []string{"a-*", "b"}) || !slices.Equal(a.Users, []string{"ci"}) || len(a.BindReadOnly) != 0 ||
		!slices.Equal(a.Bind, []string{"/work"}) || !slices.Equal(a.AllowBind, []string{"/srv"}) || !a.Writable || a.EnvAll ||
		a.Limits != (rule.Limits{Containers: 3, Memory: 2 << 30, CPU: 1.5}) || a.Place() != (rule.Place{File: "policy.toml", Line: 4}) {
		t.Errorf("first rule %+v", a)
	}
	if !b.Deny || b.Writable || !slices.Equal(b.Bind, []string{"/work"}) || len(b.BindReadOnly) != 3 || len(b.Network) != 2 || b.Limits.Time != 4*time.Hour {
		t.Errorf("second rule %+v", b)
	}
	if c.Limits != (rule.Limits{Tasks: 1000}) || !slices.Equal(c.Network, []string{"host"}) || !slices.Contains(c.Env, "LC_*") {
		t.Errorf("third rule %+v", c)
	}
	for _, line := range a.Explain() {
		want := map[string]string{"images": "policy.toml:5", "bind": "policy.toml:3", "limits.memory": "policy.toml:10", "env": "built in"}[line.Name]
		if want != "" && line.Place.String() != want {
			t.Errorf("%s comes from %s, want %s", line.Name, line.Place, want)
		}
	}
}

func TestWhatIsWrongIsNamedWithItsPlace(t *testing.T) {
	const rule = "[[rule]]\nimages = [\"*\"]\n"
	for text, want := range map[string]string{
		"stoer = \"/x\"":                                       "policy.toml:1:1: unknown key",
		"\n\n store = 5":                                       "policy.toml:3:2: store: want a text",
		"store = \"/x":                                         "policy.toml:1:",
		"store = \"relative\"":                                 "policy.toml:1:1: path \"relative\" is not absolute",
		"store=\"/a\"\nstore=\"/b\"":                           "policy.toml:2:1: store is there twice",
		"audit = 1":                                            "policy.toml:1:1: audit: want true or false",
		"images = [\"x\"]":                                     "policy.toml:1:1: images belongs into a [[rule]]",
		"[rule]\n":                                             "policy.toml:1:2: a rule begins with [[rule]]",
		"[rules]\n":                                            "policy.toml:1:2: unknown table [rules]",
		"[[rules]]\n":                                          "policy.toml:1:3: unknown list",
		"[rule.limits]\n":                                      "policy.toml:1:2: unknown table",
		"[[rule]]\n":                                           "policy.toml:1:3: the rule names no image",
		"[[rule]]\nimages = []":                                "policy.toml:2:1: images: names no image",
		"[[rule]]\nimages = [\"[a\"]":                          "policy.toml:2:1: images: \"[a\" is no glob",
		"[[rule]]\nimages = [\"a@1\"]":                         "policy.toml:2:1: images: \"a@1\" matches nothing",
		rule + "env = [\"A=1\"]":                               "policy.toml:3:1: env: \"A=1\" matches nothing",
		"[[rule]]\nimages = [\"\"]":                            "policy.toml:2:1: images: an empty name",
		"[[rule]]\nimages = \"*\"":                             "policy.toml:2:1: images: want a list",
		"[[rule]]\nimages = [1]":                               "policy.toml:2:1: images: want a list of texts",
		rule + "images = [\"x\"]":                              "policy.toml:3:1: images is there twice",
		rule + "users = [\"-x\"]":                              "policy.toml:3:1: users: ",
		rule + "users = []":                                    "policy.toml:3:1: users: names nobody",
		rule + "bind = [\"home\"]":                             "policy.toml:3:1: bind: path \"home\" is not absolute",
		rule + "allow-bind = [\"\"]":                           "policy.toml:3:1: allow-bind: ",
		rule + "devices = [\"/etc/shadow\"]":                   "policy.toml:3:1: devices: ",
		rule + "devices = [\"/dev/../x\"]":                     "policy.toml:3:1: devices: ",
		rule + "network = [\"mars\"]":                          "policy.toml:3:1: network: network \"mars\"",
		rule + "personality = \"vax\"":                         "policy.toml:3:1: personality: ",
		rule + "writable = \"yes\"":                            "policy.toml:3:1: writable: want true or false",
		rule + "limits.time = \"soon\"":                        "policy.toml:3:1: limits.time: \"soon\" is not a time: use e.g. 90s, 10m or 2h",
		rule + "limits.memory = \"-1\"":                        "policy.toml:3:1: limits.memory: \"-1\" is not a size: use e.g. 512M or 4G",
		rule + "limits.memory = \"9999999999T\"":               "policy.toml:3:1: limits.memory: ",
		rule + "limits.containers = -1":                        "policy.toml:3:1: limits.containers: a limit cannot be negative",
		rule + "limits.containers = 99999999999":               "policy.toml:3:1: limits.containers: want a number",
		rule + "limits = 5":                                    "policy.toml:3:1: unknown key \"limits\"",
		rule + "limits = { tasks = 1, x = 2 }":                 "policy.toml:3:23: unknown key \"limits.x\"",
		rule + "[rule.limits]\nimages = []":                    "policy.toml:4:1: unknown key \"limits.images\"",
		rule + "limits.tasks=1\nlimits.tasks=2":                "policy.toml:4:1: limits.tasks is there twice",
		rule + "store = \"/x\"":                                "policy.toml:3:1: unknown key \"store\"",
		rule + "root-ids = 5":                                  "want the first of 65536 ids",
		rule + "root-ids = 2147450000":                         "want the first of 65536 ids",
		rule + "root-ids = 1100000000":                         "policy.toml:1:3: root-ids are one user's",
		rule + "root-ids = 1100000000\nusers = [\"a\", \"b\"]": "root-ids are one user's",
		rule + "x":                                             "policy.toml:3:",
		"\xff":                                                 "policy.toml:1:",
	} {
		if _, _, err := rules(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestTheDefaultIsTheOriginsCommand(t *testing.T) {
	list, settings, err := rules(DefaultText)
	if err != nil || len(list) != 1 || settings != (rule.Settings{Store: rule.DefaultStore, Audit: true}) {
		t.Fatalf("%+v, %+v, %v", list, settings, err)
	}
	r, own := list[0], rule.BuiltIn()
	if !slices.Equal(r.Images, []string{"*"}) || !slices.Equal(r.BindReadOnly, own.BindReadOnly) || !slices.Equal(r.Bind, own.Bind) ||
		!slices.Equal(r.Env, own.Env) || r.Deny || !slices.Equal(r.Network[:1], own.Network) || r.Users != nil || r.Devices != nil {
		t.Errorf("%+v", r)
	}
}

// directory makes a policy directory that belongs to whoever runs the test.
func directory(t *testing.T, files map[string]string) source {
	t.Helper()
	top := t.TempDir()
	dir := filepath.Join(top, "etc", "mayfly")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return source{top: top, dir: dir, owner: uint32(os.Getuid())}
}

// Whoever mends a policy wants to know of all mistakes at once.
func TestEveryMistakeIsTold(t *testing.T) {
	name := filepath.Join(t.TempDir(), "new.toml")
	text := "stoer = 1\n[[rule]]\nimages = []\nuser = [\"a\"]\n[[rule]]\nwritable = 5\n[[rule]]\nimages = [\"*\"]\ndevices = [\"/dev/pts\"]\n"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var got []string
	list, _, err := All(name, func(err error) { got = append(got, strings.TrimPrefix(err.Error(), name+":")) })
	want := []string{`1:1: unknown key "stoer"; did you mean store?`, "3:1: images: names no image", `4:1: unknown key "user"; did you mean users?`,
		"6:1: writable: want true or false", "5:3: the rule names no image", "9: devices: /dev/pts is a directory"}
	if err != nil || len(list) != 2 || len(got) != len(want) {
		t.Fatalf("%q, %d rules, %v", got, len(list), err)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("%q, want %q", got[i], want[i])
		}
	}
	if _, _, err := All(name+"x", nil); err == nil {
		t.Error("a file that is not there")
	}
}

func TestAFileIsAddedWholeAndOnce(t *testing.T) {
	s := directory(t, map[string]string{"policy.toml": ""})
	before := system
	system = s
	defer func() { system = before }()
	path, err := Add("team", "[[rule]]\nimages = [\"*\"]\n")
	if err != nil || path != filepath.Join(s.dir, dropIns, "team.toml") {
		t.Fatalf("%s, %v", path, err)
	}
	list, _, err := All("", nil)
	if err != nil || len(list) != 1 {
		t.Errorf("%d rules, %v", len(list), err)
	}
	if _, err := Add("team", "x"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("once more: %v", err)
	}
	for _, name := range []string{"", ".x", "a/b", "..", "a b", "a\n"} {
		if _, err := Add(name, ""); err == nil {
			t.Errorf("%q is a name", name)
		}
	}
	left, err := os.ReadDir(filepath.Join(s.dir, dropIns))
	if err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
}

func caller(uid uint32, gids ...uint32) rule.Caller {
	names := func(known map[string]uint32) func(string) (uint32, bool, error) {
		return func(name string) (uint32, bool, error) {
			if name == "broken" {
				return 0, false, errors.New("the directory service does not answer")
			}
			id, ok := known[name]
			return id, ok, nil
		}
	}
	return rule.Caller{UID: uid, GIDs: gids, UserID: names(map[string]uint32{"ci": 500, "root": 0}), GroupID: names(map[string]uint32{"dev": 50})}
}

func TestTheFirstRuleForImageAndCallerDecides(t *testing.T) {
	s := directory(t, map[string]string{
		"policy.d/20-b.toml":  "[[rule]]\nimages=[\"x\"]\nusers=[\"ci\"]\nbind=[\"/second\"]\n",
		"policy.d/10-a.toml":  "[[rule]]\nimages=[\"x\"]\nusers=[\"501\"]\nbind=[\"/first\"]\n[[rule]]\nimages=[\"y-?\"]\ngroups=[\"dev\"]\nbind=[\"/group\"]\n",
		"policy.d/30-c.txt":   "not policy",
		"policy.d/.hidden":    "not policy",
		"policy.d/40-d.toml":  "[[rule]]\nimages=[\"z\"]\nusers=[\"nosuchuser\",\"4294967295\"]\ngroups=[\"60\"]\nbind=[\"/number\"]\n",
		"policy.d/50-no.toml": "[[rule]]\nimages=[\"x\"]\nusers=[\"666\"]\ndeny=true\n[[rule]]\nimages=[\"w\"]\ngroups=[\"broken\"]\n",
		"policy.toml":         "[[rule]]\nimages=[\"x\"]\nbind=[\"/last\"]\n",
	})
	for _, c := range []struct {
		image string
		who   rule.Caller
		want  string // of the rule's bind, or of the error
	}{
		{"x", caller(501), "first"}, {"x", caller(500), "second"}, {"x", caller(7), "last"}, {"x", caller(666), "20-b.toml|50-no.toml:1 denies it"},
		{"y-1", caller(7, 50), "group"}, {"y-1", caller(7, 51), "no rule"}, {"y-22", caller(7, 50), "no rule"},
		{"z", caller(7, 60), "number"}, {"z", caller(4294967295), "no rule"}, {"w", caller(7), "does not answer"}, {"nosuch", caller(7), "no rule"},
		{"x", caller(0), "last"}, {"nosuch", caller(0), "home"}, {"", caller(7), "no rule"},
	} {
		d, err := s.decide(c.image, c.who)
		if err != nil {
			_, want, _ := strings.Cut("|"+c.want, "|")
			if i := strings.LastIndex(want, "|"); i >= 0 {
				want = want[i+1:]
			}
			if !strings.Contains(err.Error(), want) || len(d.Bind) > 0 && !d.Deny {
				t.Errorf("%s for %d: %v, want %q", c.image, c.who.UID, err, c.want)
			}
			continue
		}
		if d.Bind[0] != "/"+c.want || d.Unbound != (c.who.UID == 0) {
			t.Errorf("%s for %d: %+v, want %q", c.image, c.who.UID, d.Rule, c.want)
		}
	}
}

func TestWithoutAPolicyOnlyRootMayDoAnything(t *testing.T) {
	for _, s := range []source{directory(t, nil), {top: "/", dir: "/nosuch/directory"}, directory(t, map[string]string{"policy.toml": "store = \"/s\"\n"})} {
		if _, err := s.decide("x", caller(7)); !errors.Is(err, rule.ErrDenied) && s.owner != 0 {
			t.Errorf("%s: %v", s.dir, err)
		}
	}
	if d, err := directory(t, nil).decide("x", caller(0)); err != nil || d.Store != rule.DefaultStore || len(d.Bind) != 1 {
		t.Errorf("root: %+v, %v", d, err)
	}
}

func TestOneBadFileDecidesNothing(t *testing.T) {
	for name, text := range map[string]string{"policy.toml": "[[rule]]\nimages=[\"*\"]\n[[rule]]\n", "policy.d/zz.toml": "store=\"/x\"\n", "policy.d/aa.toml": "\x00"} {
		s := directory(t, map[string]string{"policy.d/m.toml": "[[rule]]\nimages=[\"*\"]\n", name: text})
		_, err := s.decide("x", caller(7))
		var place *rule.ErrAt
		if !errors.As(err, &place) || place.Name != filepath.Join(s.dir, name) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := s.decide("x", caller(0)); err == nil {
			t.Errorf("%s: root gets an answer", name)
		}
	}
}

func TestOnlyTrustedFilesAreRead(t *testing.T) {
	const good = "[[rule]]\nimages=[\"*\"]\n"
	for what, spoil := range map[string]func(dir string) error{
		"writable by others": func(d string) error { return os.Chmod(d+"/policy.toml", 0o666) },
		"a symbolic link": func(d string) error {
			return errors.Join(os.Rename(d+"/policy.toml", d+"/x"), os.Symlink("x", d+"/policy.toml"))
		},
		"a FIFO": func(d string) error {
			return errors.Join(os.Remove(d+"/policy.toml"), syscall.Mkfifo(d+"/policy.toml", 0o600))
		},
		"a directory": func(d string) error {
			return errors.Join(os.Remove(d+"/policy.toml"), os.Mkdir(d+"/policy.toml", 0o755))
		},
		"too large":                  func(d string) error { return os.Truncate(d+"/policy.toml", 1<<30) },
		"in a writable directory":    func(d string) error { return os.Chmod(d, 0o777) },
		"below a writable directory": func(d string) error { return os.Chmod(filepath.Dir(d), 0o777) },
		"behind a link": func(d string) error {
			return errors.Join(os.Rename(d, d+"2"), os.Symlink("mayfly2", d))
		},
		"a drop-in that is a link":    func(d string) error { return os.Symlink("../policy.toml", d+"/policy.d/x.toml") },
		"drop-ins anybody may write":  func(d string) error { return os.Chmod(d+"/policy.d", 0o777) },
		"a drop-in anybody may write": func(d string) error { return os.Chmod(d+"/policy.d/a.toml", 0o602) },
	} {
		s := directory(t, map[string]string{"policy.toml": good, "policy.d/a.toml": good})
		if _, err := s.decide("x", caller(7)); err != nil {
			t.Fatalf("in order: %v", err)
		}
		if err := spoil(s.dir); err != nil {
			t.Fatal(err)
		}
		if _, err := s.decide("x", caller(7)); err == nil || errors.Is(err, rule.ErrDenied) {
			t.Errorf("%s: %v", what, err)
		}
	}
	s := directory(t, map[string]string{"policy.toml": good})
	s.owner++
	if _, err := s.decide("x", caller(7)); err == nil || errors.Is(err, rule.ErrDenied) {
		t.Errorf("of another owner: %v", err)
	}
}

// BenchmarkDecide is a policy of 200 rules of which the last is for the caller.
func BenchmarkDecide(b *testing.B) {
	var text strings.Builder
	for i := range 200 {
		fmt.Fprintf(&text, "[[rule]]\nimages = [\"image-%d-*\", \"other-%d\"]\nusers = [\"ci\"]\nbind = [\"/home\", \"/srv/%d\"]\nallow-bind = [\"/srv\"]\nwritable = true\n\n", i, i, i)
	}
	data := []byte(text.String())
	b.SetBytes(int64(len(data)))
	who := caller(7)
	for b.Loop() {
		if err := rule.Parse("policy.toml", data, &rule.Contents{}, func(r *rule.Rule) error {
			_, err := r.Matches("image-199-x", who)
			return err
		}); err != nil {
			b.Fatal(err)
		}
	}
}
