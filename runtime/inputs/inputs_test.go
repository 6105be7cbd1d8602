package inputs

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"mayfly/runtime/plan"
)

func opened(files ...string) Opened {
	o := Opened{Record: Record{Files: map[string]Count{}}, Of: map[string]plan.Whose{}, Packages: map[string]string{}, Installed: 260}
	for _, text := range files {
		name, how, _ := strings.Cut(text, " ")
		c := Count{Opened: 1}
		if how == "w" {
			c.Written = 1
		}
		o.Files[name] = c
		o.Of[name] = plan.OfHost
		if strings.HasPrefix(name, "/usr/") {
			o.Of[name] = plan.OfImage
			o.Packages[name] = strings.Split(name, "/")[2]
		}
	}
	return o
}

func TestTheSummary(t *testing.T) {
	about := About{Project: "/home/u/p", Home: "/home/u", Asked: []string{"/sdk"}}
	for want, files := range map[string][]string{
		"image packages used: 0 of 260": {"/home/u/p/a.c", "/home/u/p/a.o w", "/etc/passwd"},
		"read outside of the project: /opt/sdk (2 files), ~/.gitconfig; image packages used: 1 of 260; wrote outside of the project: ~/.cache/ccache (2 files)": {
			"/opt/sdk/include/a.h", "/opt/sdk/lib/b.a", "/home/u/.gitconfig", "/home/u/.cache/ccache/1/x w", "/home/u/.cache/ccache/2/y w", "/usr/gcc"},
		"read outside of the project: /sdk (3 files), /opt/one, /opt/two/x; image packages used: 0 of 260": {
			"/sdk/a/1", "/sdk/b/2", "/sdk/c/3", "/opt/one", "/opt/two/x"},
		"read outside of the project: ~/a, ~/b, ~/c, ~/d, ~/e, ~/f, ~/g, ~/h, and 2 more places; image packages used: 0 of 260": {
			"/home/u/a", "/home/u/b", "/home/u/c", "/home/u/d", "/home/u/e", "/home/u/f", "/home/u/g", "/home/u/h", "/home/u/i", "/home/u/j"},
	} {
		if got := NewReport(opened(files...), about).Summary(); got != want {
			t.Errorf("%q:\n%s, want\n%s", files, got, want)
		}
	}
}

func TestWhatIsAllowed(t *testing.T) {
	about := About{Project: "/home/u/p", Home: "/home/u"}
	const list = "# of the host\n\n/opt/sdk\n~/.cache/ccache\n/srv/*/include\n"
	for _, c := range []struct {
		list, file, want string
	}{
		{list, "/opt/sdk/include/x", ""},
		{list, "/opt/sdk", ""},
		{list, "/opt/sdk2/x", `opened, and not allowed: "/opt/sdk2/x"`},
		{list, "/home/u/.cache/ccache/x w", ""},
		{list, "/home/u/.cache/other w", `"/home/u/.cache/other"`},
		{list, "/srv/a/include/deep/x.h", ""},
		{list, "/srv/a/b/include/x.h", `"/srv/a/b/include/x.h"`},
		{list, "/home/u/p/anything", ""},
		{list, "/etc/passwd", ""},
		{list, "/usr/gcc", ""},
		{list + "package gcc", "/usr/gcc", ""},
		{list + "package gcc", "/usr/make", `used, and not allowed: package make`},
		{"", "/opt/x", `"/opt/x"`},
		{"package gcc-12", "/usr/gcc", "used, and not allowed: package gcc"},
	} {
		a, err := ParseAllowed("list", c.list, "/home/u")
		if err != nil {
			t.Fatal(err)
		}
		err = a.Check(NewReport(opened(c.file), about))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q, %s: %v, want %s", c.list, c.file, err, c.want)
		}
	}
	for text, want := range map[string]string{"x": "list:1: \"x\": want an absolute path", "\n/x[": "list:2: a [", "package a b": "want a name", "package /x": "want a name"} {
		if _, err := ParseAllowed("list", text, "/home/u"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	o := opened()
	o.Missed = []string{"the queue"}
	a, _ := ParseAllowed("list", "/", "/home/u")
	if err := a.Check(NewReport(o, about)); err == nil || !strings.Contains(err.Error(), "whether more was opened: the queue") {
		t.Errorf("an incomplete record: %v", err)
	}
}

// A container cannot make the table larger than it may be, and what it lacks is said.
func TestTheTableIsBounded(t *testing.T) {
	table := newTable()
	long := strings.Repeat("x", 1<<20)
	for i := range 100 {
		table.add(fmt.Appendf(nil, "/%d%s", i, long), false, true, false)
	}
	if r := table.record(); len(r.Files) != mostBytes>>20-1 || len(r.Missed) != 1 || !strings.Contains(r.Missed[0], "bytes of their names (") {
		t.Errorf("%d files, %q", len(r.Files), r.Missed)
	}
	table = newTable()
	for i := range mostFiles + 10 {
		table.add(fmt.Appendf(nil, "/%d", i), false, true, false)
	}
	if r := table.record(); len(r.Files) != mostFiles || !slices.ContainsFunc(r.Missed, func(s string) bool { return strings.HasSuffix(s, "(10 times)") }) {
		t.Errorf("%d files, %q", len(r.Files), r.Missed)
	}
}

func TestAFileIsOneWithAndWithoutAName(t *testing.T) {
	table := newTable()
	for _, name := range []string{"/a", "/a gone", "/b gone", "/c gone", "/c"} {
		name, gone := strings.CutSuffix(name, " gone")
		table.add([]byte(name), gone, true, false)
	}
	r := table.record()
	if a, b, c := r.Files["/a"], r.Files["/b"], r.Files["/c"]; a != (Count{2, 0, false}) || b != (Count{1, 0, true}) || c != (Count{2, 0, false}) || len(r.Files) != 3 {
		t.Errorf("%+v", r.Files)
	}
}

func FuzzAllowed(f *testing.F) {
	f.Add("/opt/*\n~/x\npackage gcc\n# c\n/[a-z]/", "/opt/x")
	f.Fuzz(func(t *testing.T, list, file string) {
		a, err := ParseAllowed("list", list, "/home/u")
		if err != nil || !strings.HasPrefix(file, "/") {
			return
		}
		o := Opened{Record: Record{Files: map[string]Count{file: {Opened: 1}}}, Of: map[string]plan.Whose{file: plan.OfHost}}
		r := NewReport(o, About{Project: "/home/u/p", Home: "/home/u"})
		_ = a.Check(r)
		_ = r.Summary()
	})
}
