package image

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

func TestAVersionByItsDigest(t *testing.T) {
	each(t, func(t *testing.T, s store) {
		s.small(t, "one", "first")
		s.small(t, "one", "second", "--next")
		s.small(t, "other", "third")
		list := s.history(t, "one")
		for at, r := range list {
			for _, digits := range []int{6, 20, 64} {
				name := "one@" + r.Digest[:len("sha256:")+digits]
				if out := s.succeed(t, "image", "inspect", name); !strings.Contains(out, "version       "+itoa(at+1)+" of 2\n") {
					t.Errorf("%s: %q", name, out)
				}
			}
		}
		first := "one@" + list[0].Digest
		if r := kit.Root(t, "run", "--store", s.path, "--chdir", "/", "--verbose", first, "/bin/program", "version"); r.Code != 0 || !strings.Contains(r.Err, "on "+s.path+"/one/1.\n") {
			t.Errorf("%+v", r)
		}
		s.succeed(t, "image", "rollback", first)
		if got := s.file(t, "one"); got != "first" {
			t.Errorf("after a rollback by digest: %q", got)
		}
		s.refuse(t, "image one@sha256:000000 is not here: `runtime image sync SOURCE one@sha256:000000` brings it", "run", "one@sha256:000000", "true")
		other := s.digest(t, "other")
		s.refuse(t, "; other@1 has this digest (", "run", "one@"+other, "true")
		s.refuse(t, "6 to 64 digits", "run", "one@sha256:00000", "true")
		s.refuse(t, "6 to 64 digits", "run", "one@sha256:", "true")
	})
}

func TestTags(t *testing.T) {
	each(t, func(t *testing.T, s store) {
		for i := range 4 {
			s.small(t, "one", itoa(i+1), []string{"--next"}[:min(i, 1)]...)
		}
		s.refuse(t, "image one@stable is not here: it has no such tag", "run", "one@stable", "true")
		if out := s.succeed(t, "image", "tag", "one@2", "stable"); out != "image one@stable is version 2\n" {
			t.Errorf("%q", out)
		}
		s.succeed(t, "image", "tag", "one@stable", "old")
		if r := kit.Root(t, "run", "--store", s.path, "--chdir", "/", "--verbose", "one@stable", "/bin/program", "version"); r.Code != 0 || !strings.Contains(r.Err, "on "+s.path+"/one/2.\n") {
			t.Errorf("%+v", r)
		}
		if out := s.succeed(t, "image", "prune", "--keep", "1", "one"); out != "removed one@1\nremoved one@3\n" {
			t.Errorf("%q", out)
		}
		s.succeed(t, "image", "tag", "one", "stable")
		if list := s.history(t, "one"); len(list) != 2 || !slices.Equal(list[0].Tags, []string{"old"}) || !slices.Equal(list[1].Tags, []string{"stable"}) {
			t.Errorf("%+v", list)
		}
		s.succeed(t, "image", "tag", "--remove", "one", "old")
		s.refuse(t, "no such tag", "image", "tag", "--remove", "one", "old")
		s.refuse(t, "looks like a version's number", "image", "tag", "one", "7")
		s.refuse(t, "want letters", "image", "tag", "one", "../x")
		s.refuse(t, "unknown image one@9", "image", "tag", "one@9", "x")
		s.refuse(t, "leave out @4", "image", "tag", "--remove", "one@4", "stable")
		s.succeed(t, "image", "rename", "one", "two")
		if list := s.history(t, "two"); !slices.Equal(list[1].Tags, []string{"stable"}) {
			t.Errorf("%+v", list)
		}
		s.succeed(t, "image", "remove", "two")
		s.clean(t)
	})
}

// A sync brings one version by its digest, and tags.
func TestAVersionIsBroughtByItsDigest(t *testing.T) {
	from := store{kit.NewStore(t), true}
	from.versions(t, "one")
	from.succeed(t, "image", "tag", "one@2", "stable")
	from.succeed(t, "image", "tag", "one@5", "next")
	dir := filepath.Join(t.TempDir(), "published")
	from.succeed(t, "image", "publish", dir)
	digest := from.history(t, "one")[1].Digest
	each(t, func(t *testing.T, to store) {
		if out := to.succeed(t, "image", "sync", dir, "one@"+digest[:20]); out != "image one@2: brought @2\n" {
			t.Errorf("%q", out)
		}
		if list := to.history(t, "one"); len(list) != 1 || list[0].Version != 2 || !list[0].Current || !slices.Equal(list[0].Tags, []string{"stable"}) {
			t.Errorf("%+v", list)
		}
		to.refuse(t, "the source has no one@sha256:000000", "image", "sync", dir, "one@sha256:000000")
		to.refuse(t, "the source has no one@none", "image", "sync", dir, "one@none")
		if out := to.succeed(t, "image", "sync", dir, "one@next"); out != "image one@2: brought @5\n" {
			t.Errorf("%q", out)
		}
		if list := to.history(t, "one"); len(list) != 2 || !list[0].Current {
			t.Errorf("%+v", list)
		}
		to.succeed(t, "image", "sync", dir)
		same(t, from, to, "one")
	})
}

// A rule may name the versions that callers may run.
func TestAPolicyOfVersions(t *testing.T) {
	const dropIn, name = "/etc/mayfly/policy.d/00-versions.toml", "chosen"
	t.Cleanup(func() { os.Remove(dropIn); kit.Root(t, "image", "remove", "--force", name) })
	kit.Succeed(t, "image", "create", name, "--from", kit.Base, "--run", "true")
	kit.Succeed(t, "image", "create", name, "--next", "--from", name, "--run", "echo 2 >/srv/version")
	kit.Succeed(t, "image", "create", name, "--next", "--from", name, "--run", "echo 3 >/srv/version")
	digest := (store{kit.Store, true}).history(t, name)[0].Digest
	for _, c := range []struct {
		versions string
		may      map[string]bool
	}{
		{`["` + digest + `"]`, map[string]bool{name: false, name + "@1": true, name + "@2": false, name + "@" + digest: true}},
		{`["2", "stable"]`, map[string]bool{name: false, name + "@1": false, name + "@2": true, name + "@3": false}},
		{`["sha256:` + strings.Repeat("0", 64) + `"]`, map[string]bool{name: false, name + "@1": false}},
	} {
		kit.Must(t, os.WriteFile(dropIn, []byte("[[rule]]\nimages = [\""+name+"\"]\nversions = "+c.versions+"\nwritable = true\n"), 0o644))
		for image, may := range c.may {
			r := kit.Run(t, "run", "--chdir", "/", image, "true")
			if may != (r.Code == 0) || !may && !strings.Contains(r.Err, "not allowed by the policy: "+dropIn+":1 allows versions ") {
				t.Errorf("%s, %s: %+v", c.versions, image, r)
			}
			r = kit.Run(t, "session", "begin", "--name", "chosen", image)
			if may != (r.Code == 0) {
				t.Errorf("session, %s, %s: %+v", c.versions, image, r)
			}
			if may {
				kit.Run(t, "session", "end", "chosen")
			}
		}
	}
	// The tag moves, and the rule with it. Root is not bound.
	kit.Must(t, os.WriteFile(dropIn, []byte("[[rule]]\nimages = [\""+name+"\"]\nversions = [\"stable\"]\n"), 0o644))
	kit.Succeed(t, "image", "tag", name+"@2", "stable")
	if r := kit.Run(t, "run", "--chdir", "/", name+"@stable", "cat", "/srv/version"); r.Out != "2\n" {
		t.Errorf("%+v", r)
	}
	kit.Succeed(t, "image", "tag", name+"@3", "stable")
	if r := kit.Run(t, "run", "--chdir", "/", name, "cat", "/srv/version"); r.Out != "3\n" {
		t.Errorf("%+v", r)
	}
	if r := kit.Root(t, "run", "--chdir", "/", name+"@1", "true"); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	for _, bad := range []string{`[]`, `[""]`, `["01"]`, `["sha256:xyz"]`, `["` + digest[:40] + `"]`, `"1"`} {
		kit.Must(t, os.WriteFile(dropIn, []byte("[[rule]]\nimages = [\""+name+"\"]\nversions = "+bad+"\n"), 0o644))
		if r := kit.Run(t, "run", "--chdir", "/", name, "true"); r.Code != 125 || !strings.Contains(r.Err, dropIn+":3") {
			t.Errorf("%s: %+v", bad, r)
		}
	}
}
