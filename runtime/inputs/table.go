package inputs

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"mayfly/runtime/plan"
)

// A Record is what was opened.
type Record struct {
	Files map[string]Count // by path inside
	// Missed tells why it is not complete; none: it is.
	Missed []string
}

// An Opened is a Record with what is known of the files.
type Opened struct {
	Record
	Of        map[string]plan.Whose
	Packages  map[string]string // that own files of the image, and links to such files
	Installed int               // packages of the image
}

// A Count is how often a file was opened, and closed after it had been opened for
// writing. The kernel counts openings of one process that follow each other at once as
// one, so it is at least so often.
type Count struct {
	Opened, Written int
	Gone            bool // it was removed, or another took its place
}

// Read tells whether the file was opened for reading, as far as the counts tell: one that
// was opened for both counts as written.
func (c Count) Read() bool { return c.Opened > c.Written }

const (
	// A table has at most so many files, and bytes of their paths: a container must not
	// fill the memory of this process, which is no memory of the container's.
	mostFiles = 500_000
	mostBytes = 64 << 20
)

// A table is a Record that grows.
type table struct {
	files  map[string]*Count
	bytes  int
	missed map[string]int // how often, by reason
}

func newTable() table { return table{files: map[string]*Count{}, missed: map[string]int{}} }

// add counts what one event tells of a path.
func (t *table) add(path []byte, opened, written bool) {
	c := t.files[string(path)] // without a copy
	if c == nil {
		if t.bytes += len(path); len(t.files) >= mostFiles || t.bytes > mostBytes {
			t.bytes -= len(path)
			t.missed[fmt.Sprintf("more than %d files, or %d bytes of their names", mostFiles, mostBytes)]++
			return
		}
		c = &Count{}
		t.files[string(path)] = c
	}
	if opened {
		c.Opened++
	}
	if written {
		c.Written++
	}
}

// deleted is what the kernel writes behind the path of a file that has no name any more.
const deleted = " (deleted)"

// record returns the table. A file with and without a name is one.
func (t *table) record() Record {
	r := Record{Files: make(map[string]Count, len(t.files))}
	for path, c := range t.files {
		name, gone := strings.CutSuffix(path, deleted)
		was, there := r.Files[name]
		r.Files[name] = Count{was.Opened + c.Opened, was.Written + c.Written, gone && (!there || was.Gone)}
	}
	for _, reason := range slices.Sorted(maps.Keys(t.missed)) {
		if n := t.missed[reason]; n > 1 {
			reason += fmt.Sprintf(" (%d times)", n)
		}
		r.Missed = append(r.Missed, reason)
	}
	return r
}
