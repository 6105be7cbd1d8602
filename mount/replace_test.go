package mount

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAReplacementIsTakenBackUnlessItWasChanged(t *testing.T) {
	for name, c := range map[string]struct {
		before, put Replacement // before: as what is there at first
		change      func(t *testing.T, name string)
		want        string
	}{
		"a file":           {Replacement{Content: "old"}, Replacement{Content: "new"}, nil, "old"},
		"a link":           {Replacement{Link: "nowhere"}, Replacement{Content: "new"}, nil, "-> nowhere"},
		"by a link":        {Replacement{Content: "old"}, Replacement{Link: "elsewhere"}, nil, "old"},
		"nothing":          {Replacement{}, Replacement{Content: "new"}, nil, "nothing"},
		"changed in place": {Replacement{Content: "old"}, Replacement{Content: "new"}, func(t *testing.T, n string) { writeFile(t, n, "changed") }, "changed"},
		"replaced": {Replacement{Content: "old"}, Replacement{Content: "new"}, func(t *testing.T, n string) {
			must(t, os.Remove(n))
			must(t, os.Symlink("zone", n))
		}, "-> zone"},
		"removed": {Replacement{Content: "old"}, Replacement{Content: "new"}, func(t *testing.T, n string) { must(t, os.Remove(n)) }, "nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			fd, err := os.Open(dir)
			must(t, err)
			defer fd.Close()
			root, file := RootAt(int(fd.Fd())), filepath.Join(dir, "etc/hosts")
			must(t, os.Mkdir(filepath.Join(dir, "etc"), 0o755))
			switch {
			case c.before.Link != "":
				must(t, os.Symlink(c.before.Link, file))
			case c.before.Content != "":
				writeFile(t, file, c.before.Content)
			}
			c.put.Name, c.put.KeepOld = "/etc/hosts", true
			must(t, root.Put(&c.put))
			must(t, root.Remember(&c.put))
			if got, want := shows(file), shown(c.put); got != want {
				t.Errorf("put: %q, want %q", got, want)
			}
			if c.change != nil {
				c.change(t, file)
			}
			must(t, c.put.TakeBack())
			if got := shows(file); got != c.want {
				t.Errorf("taken back: %q, want %q", got, c.want)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "etc/.*")); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
}

// A process that was killed has left its replacement, and what was there aside.
func TestAReplacementOfOneThatWasKilled(t *testing.T) {
	dir := t.TempDir()
	fd, err := os.Open(dir)
	must(t, err)
	defer fd.Close()
	root := RootAt(int(fd.Fd()))
	writeFile(t, filepath.Join(dir, "hosts"), "old")
	killed := Replacement{Name: "/hosts", Content: "killed", KeepOld: true}
	must(t, root.Put(&killed))
	next := Replacement{Name: "/hosts", Content: "new", KeepOld: true}
	must(t, root.Put(&next))
	must(t, root.Remember(&next))
	must(t, next.TakeBack())
	if got := shows(filepath.Join(dir, "hosts")); got != "old" {
		t.Errorf("%q", got)
	}
}

// What was put is put anew, and what somebody has changed since stays.
func TestAReplacementKeepsWhatWasChanged(t *testing.T) {
	for name, before := range map[string]string{"a file": "old", "nothing": ""} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			fd, err := os.Open(dir)
			must(t, err)
			defer fd.Close()
			root, file := RootAt(int(fd.Fd())), filepath.Join(dir, "hosts")
			if before != "" {
				writeFile(t, file, before)
			}
			for _, c := range []struct{ put, change, want string }{
				{"first", "", "first"}, {"second", "", "second"}, {"third", "mine", "third"}, {"fourth", "", "mine"}, {"fifth", "", "mine"},
			} {
				must(t, root.Put(&Replacement{Name: "/hosts", Content: c.put, KeepChanged: true}))
				if got := shows(file); got != c.want {
					t.Errorf("%s: %q, want %q", c.put, got, c.want)
				}
				if c.change != "" {
					writeFile(t, file, c.change)
				}
			}
		})
	}
}

func TestAReplacementSaysWhatIsInItsWay(t *testing.T) {
	dir := t.TempDir()
	fd, err := os.Open(dir)
	must(t, err)
	defer fd.Close()
	must(t, os.Mkdir(filepath.Join(dir, ".hosts.mayfly-old"), 0o755))
	if err := RootAt(int(fd.Fd())).Put(&Replacement{Name: "/hosts", Content: "x", KeepOld: true}); !errors.Is(err, unix.EISDIR) {
		t.Errorf("%v", err)
	}
}

func TestReplacementsAtATime(t *testing.T) {
	dir := t.TempDir()
	fd, err := os.Open(dir)
	must(t, err)
	defer fd.Close()
	root := RootAt(int(fd.Fd()))
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if err := root.Put(&Replacement{Name: "/hosts", Content: "x", KeepChanged: true}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) != 1 {
		t.Errorf("%q", left)
	}
}

func TestAReplacementMakesItsDirectory(t *testing.T) {
	fd, err := os.Open(t.TempDir())
	must(t, err)
	defer fd.Close()
	root := RootAt(int(fd.Fd()))
	must(t, root.Put(&Replacement{Name: "/etc/hosts", Content: "x"}))
	if root.Put(&Replacement{Name: "/etc/hosts/x", Content: "x"}) == nil {
		t.Error("in a file")
	}
}

func shown(p Replacement) string {
	if p.Link != "" {
		return "-> " + p.Link
	}
	return p.Content
}

func shows(name string) string {
	if link, err := os.Readlink(name); err == nil {
		return "-> " + link
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return "nothing"
	}
	return string(data)
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	must(t, os.WriteFile(name, []byte(text), 0o644))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
