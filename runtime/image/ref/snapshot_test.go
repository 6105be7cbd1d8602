package ref

import "testing"

func TestNamesOfCopies(t *testing.T) {
	for _, c := range []struct {
		name string
		want SnapshotOwner
		ok   bool
	}{
		{SnapshotName(1000, "build", "0123456789abcdef"), SnapshotOwner{1000, "build"}, true},
		{SnapshotName(0, "a.b.c", "0123456789abcdef"), SnapshotOwner{0, "a.b.c"}, true},
		{"build-1", SnapshotOwner{}, false},
		{"1000.build", SnapshotOwner{}, false},
		{"1000.web.1", SnapshotOwner{}, false}, // a container of that name, of an earlier version of the program
		{".new-0123", SnapshotOwner{}, false},
		{"4294967296.a.b", SnapshotOwner{}, false},
	} {
		if got, ok := ParseSnapshot(c.name); got != c.want || ok != c.ok {
			t.Errorf("%s: %v, %v", c.name, got, ok)
		}
	}
}
