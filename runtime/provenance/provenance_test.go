package provenance

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// example is a statement as a run writes it.
func example() *Statement {
	value := "gcc-12"
	digest := strings.Repeat("0123456789abcdef", 4)
	return New([]Resource{{Name: "build/out.a", Digest: map[string]string{"sha256": digest}}},
		Definition{
			Parameters: Parameters{Image: "deb12@sha256:" + digest, Command: []string{"make", "<all>"}, Project: "/srv/p", Directory: "/srv/p/src",
				Flags: []string{Flag("bind-ro", "/opt/sdk:/sdk"), Flag("root", "")}, Env: map[string]*string{"CC": &value, "TOKEN": nil}, Outputs: []string{"build/*.a"}},
			Internal:     Internal{Rule: "/etc/mayfly/policy.toml:3", Network: "none", Binds: []Bind{{Source: "/opt", Destination: "/opt", ReadOnly: true}}},
			Dependencies: []Resource{{Name: "image", URI: "mayfly:deb12@3", Digest: map[string]string{"sha256": digest}}, (&Source{Top: "/srv", Commit: strings.Repeat("a", 40), URI: "https://example.org/p.git"}).Resource("/srv/p")},
		},
		Run{Builder: Builder{Version: map[string]string{"mayfly": "1"}}, Metadata: Metadata{InvocationID: "x", Started: time.Unix(1, 0).UTC(), Finished: time.Unix(2, 0).UTC()}, Byproducts: []Resource{ExitStatus(0)}})
}

func TestAStatementIsReadAsItWasWritten(t *testing.T) {
	data, err := example().Encode()
	if err != nil {
		t.Fatal(err)
	}
	s, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.Encode()
	if err != nil || string(again) != string(data) {
		t.Errorf("%s\nbecomes\n%s, %v", data, again, err)
	}
	if c := s.Commit(); *c != (Commit{strings.Repeat("a", 40), false, "p"}) || s.Exit() != 0 {
		t.Errorf("%+v, exit %d", c, s.Exit())
	}
	if _, err := (&Statement{Subject: []Resource{{Name: "\xff"}}}).Encode(); err == nil {
		t.Error("what is not UTF-8 is written")
	}
}

// A statement may come from anybody: it cannot have flags that read or write the
// caller's files elsewhere.
func TestAStatementIsNotBelieved(t *testing.T) {
	for want, change := range map[string]func(*Statement){
		"predicate of type":                   func(s *Statement) { s.PredicateType = "https://slsa.dev/provenance/v0.2" },
		"the build is of type":                func(s *Statement) { s.Predicate.Definition.BuildType = "x" },
		"no subject":                          func(s *Statement) { s.Subject = nil },
		"no SHA-256":                          func(s *Statement) { s.Subject[0].Digest = nil },
		"not named by its whole digest":       func(s *Statement) { s.Predicate.Definition.Parameters.Image = "deb12@3" },
		"deb12@sha256:012345 is not named by": func(s *Statement) { s.Predicate.Definition.Parameters.Image = "deb12@sha256:012345" },
		"image name":                          func(s *Statement) { s.Predicate.Definition.Parameters.Image = "--log=x@sha256:012345" },
		"the commit": func(s *Statement) {
			s.Predicate.Definition.Dependencies[1].Digest["gitCommit"] = "--recurse-submodules"
		},
		"the commit \"HEAD\"":  func(s *Statement) { s.Predicate.Definition.Dependencies[1].Digest["gitCommit"] = "HEAD" },
		`the directory "../x"`: func(s *Statement) { s.Predicate.Definition.Dependencies[1].Annotations["directory"] = "../x" },
		`"/srv/p/..`:           func(s *Statement) { s.Predicate.Definition.Parameters.Project = "/srv/p/.." },
		"directories":          func(s *Statement) { s.Predicate.Definition.Parameters.Project = "x" },
		`flag "--log=/x"`:      func(s *Statement) { s.Predicate.Definition.Parameters.Flags = []string{"--log=/x"} },
		`flag "--store=/x"`:    func(s *Statement) { s.Predicate.Definition.Parameters.Flags = []string{"--store=/x"} },
		`flag "--bind"`:        func(s *Statement) { s.Predicate.Definition.Parameters.Flags = []string{"--bind", "/x"} },
		`flag "--root=true"`:   func(s *Statement) { s.Predicate.Definition.Parameters.Flags = []string{"--root=true"} },
		`flag "-t"`:            func(s *Statement) { s.Predicate.Definition.Parameters.Flags = []string{"-t"} },
		`flag "other"`:         func(s *Statement) { s.Predicate.Definition.Parameters.Flags = []string{"other"} },
		`glob "../*"`:          func(s *Statement) { s.Predicate.Definition.Parameters.Outputs = []string{"../*"} },
		`glob "/etc/*"`:        func(s *Statement) { s.Predicate.Definition.Parameters.Outputs = []string{"/etc/*"} },
		"no outputs":           func(s *Statement) { s.Predicate.Definition.Parameters.Outputs = nil },
	} {
		s := example()
		change(s)
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(data); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	data, _ := example().Encode()
	for _, text := range []string{"", "{}", "[]", string(data) + "{}", strings.Replace(string(data), `"_type"`, `"more": 1, "_type"`, 1)} {
		if _, err := Parse([]byte(text)); err == nil {
			t.Errorf("%.40q is a statement", text)
		}
	}
}

func TestOutputs(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("old.deb", "old")
	time.Sleep(20 * time.Millisecond) // more than the kernel's clock lags behind
	since, err := Now()
	if err != nil {
		t.Fatal(err)
	}
	write("out/deep/b", "b")
	write("out/a", "a")
	write("new.deb", "new")
	for _, link := range [][2]string{{"new.deb", "link.deb"}, {"/etc/passwd", "leads-out"}, {"/etc", "directory"}} {
		if err := os.Symlink(link[0], filepath.Join(dir, link[1])); err != nil {
			t.Fatal(err)
		}
	}
	files, unmatched, err := Outputs(dir, []string{"*.deb", "out", "out/a", "*.rpm", "leads-out", "directory/passwd"})
	if want := []string{"new.deb", "old.deb", "out/a", "out/deep/b"}; err != nil || !slices.Equal(files, want) || !slices.Equal(unmatched, []string{"*.rpm", "leads-out", "directory/passwd"}) {
		t.Errorf("%q, %q, %v", files, unmatched, err)
	}
	if _, err := Digests(dir, files, since); err == nil || !strings.Contains(err.Error(), `output "old.deb": it was there before the run`) {
		t.Error(err)
	}
	list, err := Digests(dir, []string{"out/a"}, since)
	if err != nil || list[0].Digest["sha256"] != "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb" {
		t.Errorf("%v, %v", list, err)
	}
	for _, glob := range []string{"", "/x", "../x", "a/../../x", "["} {
		if _, _, err := Outputs(dir, []string{glob}); err == nil {
			t.Errorf("%q is a glob", glob)
		}
	}
	same := Compare(list, list)
	if len(same) != 1 || !same[0].Same() {
		t.Errorf("%+v", same)
	}
	other := Compare(list, []Resource{{Name: "x", Digest: map[string]string{"sha256": "1"}}})
	if len(other) != 2 || other[0].Same() || other[0].Now != "" || other[1].Recorded != "" {
		t.Errorf("%+v", other)
	}
}

func TestAURIHasNoPassword(t *testing.T) {
	for remote, want := range map[string]string{
		"https://me:secret@example.org/p.git":     "https://example.org/p.git",
		"https://example.org:8443/p?token=secret": "https://example.org:8443/p",
		"https://me:sec%ret@example.org/p":        "",
		"codecommit::https://u:secret@host/r":     "",
		"me:secret@host:p":                        "",
		"git@example.org:group/p.git":             "ssh://example.org/group/p.git",
		"example.org:/srv/p":                      "ssh://example.org/srv/p",
		"/srv/git/p":                              "",
		"":                                        "",
	} {
		if got := uriOf(remote); got != want {
			t.Errorf("%s: %s", remote, got)
		}
	}
}

func FuzzStatement(f *testing.F) {
	data, err := example().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(data))
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse([]byte(text))
		if err != nil {
			return
		}
		for _, flag := range s.Predicate.Definition.Parameters.Flags {
			name, value, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
			if _, is := flags[name]; !is || Flag(name, value) != flag {
				t.Errorf("%q", flag)
			}
		}
	})
}
