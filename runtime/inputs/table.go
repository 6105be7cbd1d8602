package inputs

import (
	"fmt"
	"maps"
	"slices"

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
	Gone            bool // it had been removed whenever its name was asked for
}

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

// add counts what one event tells of a path. gone: the file had no name any more.
func (t *table) add(path []byte, gone, opened, written bool) {
	c := t.files[string(path)] // without a copy
	if c == nil {
		if t.bytes += len(path); len(t.files) >= mostFiles || t.bytes > mostBytes {
			t.bytes -= len(path)
			t.missed[fmt.Sprintf("more than %d files, or %d bytes of their names", mostFiles, mostBytes)]++
			return
		}
		c = &Count{Gone: true}
		t.files[string(path)] = c
	}
	c.Gone = c.Gone && gone
	if opened {
		c.Opened++
	}
	if written {
		c.Written++
	}
}

func (t *table) record() Record {
	r := Record{Files: make(map[string]Count, len(t.files))}
	for path, c := range t.files {
		r.Files[path] = *c
	}
	for _, reason := range slices.Sorted(maps.Keys(t.missed)) {
		if n := t.missed[reason]; n > 1 {
			reason += fmt.Sprintf(" (%d times)", n)
		}
		r.Missed = append(r.Missed, reason)
	}
	return r
}
