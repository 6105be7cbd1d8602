package archive

import (
	"testing"

	"mayfly/runtime/image/tree"
)

func TestASumDoesNotOutliveItsFile(t *testing.T) {
	good, evil := tree.Sum{1}, tree.Sum{2}
	s := sums{map[uint64]tree.Sum{}, 1}
	s.note(7, good)
	s.note(8, evil) // there is no room for it
	if _, known := s.byInode[8]; known || s.byInode[7] != good {
		t.Errorf("%v", s.byInode)
	}
	s.note(7, evil) // another file of that number
	if s.byInode[7] != evil {
		t.Errorf("%v", s.byInode)
	}
	s.most = 0
	s.note(7, good)
	if len(s.byInode) != 0 {
		t.Errorf("%v outlives its file where nothing more is kept", s.byInode)
	}
}
