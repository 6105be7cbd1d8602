package ref

import "testing"

func TestNamesOfCopies(t *testing.T) {
	for _, c := range []struct {
		name string
		want CopyOwner
		ok   bool
	}{
		{CopyName(1000, "build", "0123456789abcdef"), CopyOwner{1000, "build"}, true},
		{CopyName(0, "a.b.c", "0123456789abcdef"), CopyOwner{0, "a.b.c"}, true},
		{"build-1", CopyOwner{}, false},
		{"1000.build", CopyOwner{}, false},
		{"1000.web.1", CopyOwner{}, false}, // a container of that name, of an earlier version of the program
		{".new-0123", CopyOwner{}, false},
		{"4294967296.a.b", CopyOwner{}, false},
	} {
		if got, ok := ParseCopy(c.name); got != c.want || ok != c.ok {
			t.Errorf("%s: %v, %v", c.name, got, ok)
		}
	}
}
