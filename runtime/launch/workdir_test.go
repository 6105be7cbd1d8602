package launch

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mayfly/nsexec"
	"mayfly/runtime/internal/file"
	"mayfly/runtime/plan"
)

// idOf is which directory a name leads to.
func idOf(t *testing.T, name string) plan.FileID {
	t.Helper()
	device, inode, err := file.Identify(name)
	if err != nil {
		t.Fatal(err)
	}
	return plan.FileID{Device: device, Inode: inode}
}

// standsIn is the working directory of the test's process.
func standsIn(t *testing.T) string {
	t.Helper()
	dir, err := os.Readlink("/proc/self/cwd")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestTheWorkingDirectoryIsTheSameOne(t *testing.T) {
	top := t.TempDir()
	one, other := filepath.Join(top, "one"), filepath.Join(top, "other")
	if err := errors.Join(os.Mkdir(one, 0o755), os.Mkdir(other, 0o755)); err != nil {
		t.Fatal(err)
	}
	t.Chdir(top)
	for _, c := range []struct {
		names []string
		id    plan.FileID
		ends  string // where
		want  error
	}{
		{[]string{one}, idOf(t, one), one, nil},
		{[]string{other, one}, idOf(t, one), one, nil}, // something else is mounted on the first
		{[]string{filepath.Join(top, "nosuch"), one}, idOf(t, one), one, nil},
		{[]string{other}, idOf(t, one), other, errAnother},
		{[]string{filepath.Join(top, "nosuch"), other}, idOf(t, one), other, unix.ENOENT}, // the first name is what is told
	} {
		err := enterSame(c.names, c.id)
		if !errors.Is(err, c.want) || standsIn(t) != c.ends {
			t.Errorf("%q: %v, in %s; want %v, in %s", c.names, err, standsIn(t), c.want, c.ends)
		}
		if err != nil && (!strings.HasPrefix(err.Error(), c.names[0]+": ") || !strings.Contains(err.Error(), "--chdir")) {
			t.Errorf("%v", err)
		}
	}
}

func TestACommandStartsWhereItMay(t *testing.T) {
	top := t.TempDir()
	home, work, gone := filepath.Join(top, "home"), filepath.Join(top, "work"), filepath.Join(top, "gone")
	if err := errors.Join(os.Mkdir(home, 0o755), os.Mkdir(work, 0o755)); err != nil {
		t.Fatal(err)
	}
	t.Chdir(top)
	id := idOf(t, work)
	for what, c := range map[string]struct {
		cwd      string
		id       *plan.FileID
		required bool
		home     string
		ends     string // "": refused
		warns    bool
		entered  bool
	}{
		"the one asked for":                  {cwd: work, required: true, home: home, ends: work},
		"one asked for that is not there":    {cwd: gone, required: true, home: home},
		"the caller's own":                   {cwd: work, id: &id, required: true, home: home, ends: work, entered: true},
		"another one in its place":           {cwd: home, id: &id, required: true, home: home},
		"another one in the place of a home": {cwd: home, id: &id, home: home, ends: home}, // where a login shell starts
		"the home, for want of the caller's": {cwd: gone, id: &id, home: home, ends: home, warns: true},
		"the root, for want of a home":       {cwd: gone, home: gone, ends: "/", warns: true},
		"one that nobody requires":           {cwd: work, home: home, ends: work},
	} {
		t.Run(what, func(t *testing.T) {
			t.Chdir(top)
			p := planOf("true")
			p.Spec.Process.Cwd, p.CwdID, p.DirRequired = c.cwd, c.id, c.required
			p.Spec.Process.Env = []string{"HOME=" + c.home}
			l, warned := newLaunch(t, p), ""
			l.Warn = func(text string) { warned += text }
			err := l.changeDir()
			if c.ends == "" {
				if err == nil {
					t.Errorf("it starts in %s", standsIn(t))
				}
				return
			}
			if err != nil || standsIn(t) != c.ends || l.entered != c.entered {
				t.Errorf("%v, in %s, entered %v", err, standsIn(t), l.entered)
			}
			if c.warns != (warned != "") || c.warns && !strings.Contains(warned, "starting in "+c.ends) {
				t.Errorf("warned: %q", warned)
			}
		})
	}
}

func TestACommandThatJoinsIsToldThatTheDirectoryIsGone(t *testing.T) {
	p := planOf("true")
	p.Spec.Process.Cwd = "/home/dev/a b"
	for _, c := range []struct {
		joined bool
		err    error
		told   bool
	}{{true, errAnother, true}, {true, unix.ENOENT, true}, {true, unix.EACCES, false}, {false, errAnother, false}, {true, nil, false}} {
		p.Joins = c.joined
		err := goneSince(p, c.err)
		told := err != nil && strings.HasPrefix(err.Error(), `"/home/dev/a b": the directory in which the container began has been removed or replaced`)
		if told != c.told || !told && err != c.err {
			t.Errorf("joined %v, %v: %v", c.joined, c.err, err)
		}
	}
}

func TestItIsToldWhereACommandHasStarted(t *testing.T) {
	p := planOf("true")
	p.Spec.Process.Cwd, p.Spec.Process.Env = "/work", []string{"HOME=/home/dev"}
	// They are entered from the last resort on: /, the home, the one that is wanted.
	for dir, want := range map[int]string{-1: "", 0: "starting in /", 1: "starting in /home/dev", 2: "", 3: ""} {
		l, warned := newLaunch(t, p), ""
		l.Warn = func(text string) { warned += text }
		l.tellWhere(p, &nsexec.Process{Dir: dir})
		if (warned == "") != (want == "") || !strings.HasSuffix(warned, want) {
			t.Errorf("%d: %q, want %q", dir, warned, want)
		}
	}
}
