package image

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mayfly/integration/kit"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestEachChangeMakesAVersion(t *testing.T) {
	each(t, func(t *testing.T, s store) {
		s.small(t, "one", "first")
		s.refuse(t, "image one exists", "image", "import", "one", "/etc")
		s.refuse(t, "unknown image two", "image", "import", "--next", "two", "/etc")
		for i := range 4 {
			s.small(t, "one", fmt.Sprint("change", i), "--next")
		}
		if list := s.history(t, "one"); len(list) != 5 || !list[4].Current || list[4].Version != 5 || s.file(t, "one") != "change3" {
			t.Errorf("history %+v, %q", list, s.file(t, "one"))
		}
		s.succeed(t, "image", "rollback", "one")
		if got := s.file(t, "one"); got != "change2" {
			t.Errorf("after a rollback: %q", got)
		}
		s.succeed(t, "image", "rollback", "one@1")
		if got := s.file(t, "one"); got != "first" {
			t.Errorf("after a rollback to the first: %q", got)
		}
		s.refuse(t, "no version before 1", "image", "rollback", "one")
		s.refuse(t, "unknown image one@9", "image", "rollback", "one@9")
		if out := s.succeed(t, "image", "prune", "--keep", "2", "one"); out != "removed one@2\nremoved one@3\n" {
			t.Errorf("prune: %q", out) // the current one stays
		}
		s.small(t, "one", "sixth", "--next")
		if list := s.history(t, "one"); len(list) != 4 || list[3].Version != 6 {
			t.Errorf("numbers are not given twice: %+v", list)
		}
		s.refuse(t, "at least one version", "image", "prune", "--keep", "0", "one")
		s.refuse(t, "--all and names exclude each other", "image", "prune", "--all", "one")
		s.refuse(t, "want a time such as", "image", "prune", "--all", "--older-than", "-1d")
		if out := s.succeed(t, "image", "prune", "--older-than", "1d", "--keep", "1", "one"); out != "nothing to remove\n" {
			t.Errorf("prune what is new: %q", out)
		}
		if out := s.succeed(t, "image", "prune", "--all", "--older-than", "1ms", "--keep", "1"); out != "removed one@1\nremoved one@4\nremoved one@5\n" {
			t.Errorf("prune all: %q", out)
		}
		if list := s.history(t, "one"); len(list) != 1 || !list[0].LastUsed.IsZero() {
			t.Errorf("used by nobody: %+v", list)
		}
		s.clean(t)
	})
}

func TestALaunchTakesAVersionByNumber(t *testing.T) {
	each(t, func(t *testing.T, s store) {
		s.small(t, "one", "first")
		s.small(t, "one", "second", "--next")
		for ref, want := range map[string]string{"one": "/one/2", "one@1": "/one/1", "one@2": "/one/2"} {
			r := kit.Root(t, "run", "--store", s.path, "--chdir", "/", "--verbose", ref, "/bin/program", "version")
			if r.Code != 0 || !strings.Contains(r.Err, "on "+s.path+want+".\n") {
				t.Errorf("%s: %+v", ref, r)
			}
		}
		for _, bad := range []string{"one@", "one@0", "one@01", "one@x", "one@-1", "one@1@1", "@1", "one@99999999999"} {
			s.refuse(t, "", "run", bad, "true")
		}
		s.refuse(t, "unknown image one@3", "run", "one@3", "true")
	})
}

func TestAVersionInUseStays(t *testing.T) {
	each(t, func(t *testing.T, s store) {
		s.fill(t, "one")
		stop := s.start(t, "one", "sh", "-c", "read x; cat /etc/hostname >/dev/null")
		if list := s.history(t, "one"); !list[0].InUse {
			t.Errorf("not in use: %+v", list)
		}
		kit.Eventually(t, "it was used", func() bool { return time.Since(s.history(t, "one")[0].LastUsed) < time.Minute })
		s.refuse(t, "is in use by one-", "image", "remove", "one")
		s.small(t, "one", "second", "--next")
		if out := s.succeed(t, "image", "prune", "--keep", "1", "one"); out != "one@1 is in use and stays\n" {
			t.Errorf("prune: %q", out)
		}
		s.succeed(t, "image", "rename", "one", "two")
		stop()
		if list := s.history(t, "two"); list[0].InUse {
			t.Errorf("still in use: %+v", list)
		}
		s.succeed(t, "image", "remove", "two")
		if out := s.succeed(t, "image", "list", "--json"); strings.TrimSpace(out) != "[]" {
			t.Errorf("list %q", out)
		}
		s.clean(t)
	})
}

// fill makes an image that has a shell: a copy of the one of the tests.
func (s store) fill(t testing.TB, name string) {
	t.Helper()
	dir := tree(t, "mkdir bin lib usr etc; cd /var/lib/machines/"+kit.I386+"; cp -a --parents usr/bin/dash usr/bin/cat usr/bin/ls usr/bin/stat usr/bin/touch usr/bin/id "+
		"$(find usr/lib/i386-linux-gnu -maxdepth 1 -name 'lib[cpsma]*.so*' -o -maxdepth 1 -name 'ld-linux*') $OLDPWD; cd $OLDPWD; rmdir bin lib; ln -s usr/bin bin; ln -s usr/lib lib; ln -s dash usr/bin/sh; "+
		"ln -sf i386-linux-gnu/ld-linux.so.2 usr/lib/ld-linux.so.2; mkdir srv")
	s.succeed(t, "image", "import", name, dir)
}

func TestForceWaitsForTheLast(t *testing.T) {
	each(t, func(t *testing.T, s store) {
		s.fill(t, "one")
		stop := s.start(t, "one", "sh", "-c", "read x")
		removal := background(t, s.on([]string{"image", "remove", "--force", "one"})...)
		kit.Eventually(t, "nobody can have it any more", func() bool {
			_, err := os.Stat(filepath.Join(s.path, "one"))
			return err != nil
		})
		s.refuse(t, "unknown image one", "run", "one", "true")
		removal.interrupt(t)
		if s.history(t, "one"); len(kit.Snapshots(t, s.path)) != 0 {
			t.Errorf("an interrupted removal left %q", kit.Snapshots(t, s.path))
		}
		removal = background(t, s.on([]string{"image", "remove", "--force", "one"})...)
		kit.Eventually(t, "it waits", func() bool { return len(kit.Snapshots(t, s.path)) == 1 })
		stop()
		if r := removal.wait(); r != 0 {
			t.Errorf("remove --force: %d", r)
		}
		s.clean(t)
	})
}

func TestDiffTellsPackagesAndFiles(t *testing.T) {
	each(t, func(t *testing.T, s store) {
		status := func(version string) string {
			return `mkdir -p var/lib/dpkg; printf 'Package: a\nStatus: install ok installed\nVersion: ` + version + `\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n' >var/lib/dpkg/status;`
		}
		first := tree(t, status("1.0")+"echo same >same; echo old >changed; touch -d @1 same changed; mkdir d; touch d/removed; touch -d @1 d mode; chmod 600 mode")
		second := tree(t, status("2.0")+"echo same >same; echo new >changed; touch -d @1 same changed; mkdir d; touch d/added; touch -d @1 d mode; chmod 644 mode")
		s.succeed(t, "image", "import", "one", first)
		s.succeed(t, "image", "import", "--next", "one", second)
		out := s.succeed(t, "image", "diff", "one@1", "one@2")
		for _, want := range []string{"package  changed  a 1.0 to 2.0\n", "file     removed  /d/removed\n", "file     added    /d/added\n",
			"file     changed  /changed (content)\n", "file     changed  /mode (mode)\n"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in %q", want, out)
			}
		}
		if strings.Contains(out, "/same") || strings.Contains(out, "gone") {
			t.Errorf("what is the same: %q", out)
		}
		if out := s.succeed(t, "image", "diff", "one@1", "one@1"); out != "" {
			t.Errorf("with itself: %q", out)
		}
	})
}

func TestAVersionThatWasChangedIsFoundOut(t *testing.T) {
	each(t, func(t *testing.T, s store) {
		s.small(t, "one", "first")
		s.succeed(t, "image", "verify", "one")
		path := filepath.Join(s.path, "one", "1")
		if s.btrfs {
			kit.Command(t, "btrfs", "property", "set", path, "ro", "false")
		}
		kit.Command(t, "sh", "-c", "echo other >"+path+"/srv/what")
		s.refuse(t, "is damaged", "image", "verify", "one")
	})
}

func TestACloneHasTheSameContent(t *testing.T) {
	each(t, func(t *testing.T, s store) {
		s.small(t, "one", "first")
		s.succeed(t, "image", "clone", "one", "two")
		if s.digest(t, "one") != s.digest(t, "two") {
			t.Error("digests differ")
		}
		s.refuse(t, "exists", "image", "clone", "one", "two")
		s.refuse(t, "exists", "image", "rename", "one", "two")
		s.refuse(t, "image name", "image", "rename", "one", "../two")
		s.succeed(t, "image", "remove", "one")
		s.succeed(t, "image", "verify", "two")
		s.clean(t)
	})
}
