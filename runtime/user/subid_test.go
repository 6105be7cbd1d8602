package user

import (
	"errors"
	"strings"
	"testing"

	"mayfly/runtime/user/passwd"
)

func TestSubordinate(t *testing.T) {
	const known = "root:x:0:0::/:/bin/sh\na:x:1000:1000::/:/bin/sh\nfar:x:500010:1::/:/bin/sh\n"
	who := passwd.Entry{Name: "a", UID: 1000}
	for _, c := range []struct{ name, text, problem string }{
		{"by name", "b:165536:65536\na:100000:65536\n", ""},
		{"by number", "1000:100000:65536", ""},
		{"the second is long enough", "a:300000:10\na:100000:65536\n", ""},
		{"noise around", "\n#a:1:2\na\na:x:1\na:5:-1\na:100000:65536:1\na:100000:65536\n", ""},
		{"none", "b:100000:65536\n", "gives none"},
		{"empty", "", "gives none"},
		{"too small", "a:100000:65535\n", "gives 65535 in a row, 65536 are needed"},
		{"root's own", "a:0:70000\n", "gives none"},
		{"past the end", "a:4294901760:65536\n", "gives none"},
		{"overlaps at the end", "a:100000:65536\nb:165535:10\n", "another user's"},
		{"overlaps before", "b:99990:11\na:100000:65536\n", "another user's"},
		{"a user's", "a:500000:65536\n", "the id of far"},
	} {
		r, err := subordinate(c.text, known, passwd.SubUIDFile, who, 65536)
		switch {
		case c.problem == "":
			if err != nil || r != (passwd.Range{First: 100000, Count: 65536}) {
				t.Errorf("%s: %+v, %v", c.name, r, err)
			}
		case !errors.Is(err, passwd.ErrNoRange) || !strings.Contains(err.Error(), c.problem):
			t.Errorf("%s: %+v, %v, want %q", c.name, r, err, c.problem)
		}
	}
}

func TestARangeThatNSSKnowsOf(t *testing.T) {
	who, r := passwd.Entry{Name: "dev", UID: 1000}, passwd.Range{First: 100000, Count: 65536}
	for _, c := range []struct {
		what             string
		answers          map[string]string
		elsewhere, taken bool
	}{
		{"only files", map[string]string{"passwd all": "x:*:100001:1::/:/bin/sh"}, false, false},
		{"nobody", nil, true, false},
		{"enumerated", map[string]string{"passwd all": "y:*:5:1::/:/bin/sh\nx:*:100001:1::/:/bin/sh"}, true, true},
		{"others", map[string]string{"passwd all": "x:*:99999:1::/:/bin/sh\ny:*:165536:1::/:/bin/sh"}, true, false},
		{"the first", map[string]string{"passwd 100000": "x:*:100000:1::/:/bin/sh"}, true, true},
		{"the last", map[string]string{"passwd 165535": "x:*:165535:1::/:/bin/sh"}, true, true},
		{"one in the middle", map[string]string{"passwd 132767": "x:*:132767:1::/:/bin/sh"}, true, true},
	} {
		d := database(c.answers)
		d.elsewhere = func(...string) (bool, error) { return c.elsewhere, nil }
		if err := d.CheckSources(passwd.SubUIDFile, who, r); errors.Is(err, passwd.ErrNoRange) != c.taken || (err != nil) != c.taken {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	// However small it is.
	if err := database(nil).CheckSources(passwd.SubGIDFile, who, passwd.Range{First: 1, Count: 1}); err != nil {
		t.Error(err)
	}
}
