package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"mayfly/runtime/image/tree"
)

// ErrWhiteoutName means that a file's own name is that of a whiteout, so no layer can
// have it.
var ErrWhiteoutName = errors.New("no layer can have a file of this name")

// WriteChanges writes what a tree has and the tree base has not as a layer, for
// ExtractLayer: applied to a copy of base, it makes a tree of the same digest. Both are
// open directories. progress is that of Write. It returns ErrWhiteoutName before it has
// written anything.
func WriteChanges(ctx context.Context, w io.Writer, base, top int, progress func(int64)) error {
	list, err := tree.Diff(ctx, base, top)
	if err != nil {
		return err
	}
	l := layer{wanted: map[string]bool{".": true}}
	l.choose(list)
	if err := l.addLinks(ctx, top); err != nil {
		return err
	}
	for _, name := range l.gone {
		if err := checkName(name); err != nil {
			return err
		}
	}
	archive := tar.NewWriter(w)
	for _, name := range l.gone {
		dir, base := path.Split(name)
		if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: dir + whiteout + base, Format: tar.FormatPAX}); err != nil {
			return fmt.Errorf("archive %s: %w", name, err)
		}
	}
	return write(ctx, archive, top, l.has, progress)
}

// checkName returns an error if a layer cannot have an entry of this name.
func checkName(name string) error {
	if strings.HasPrefix(path.Base(name), whiteout) {
		return fmt.Errorf("archive %s: %w", name, ErrWhiteoutName)
	}
	return nil
}

// A layer is what WriteChanges writes.
type layer struct {
	wanted map[string]bool // paths of entries
	gone   []string        // paths of entries that get a whiteout
}

// choose chooses the entries that are new or different, the directories that they are
// in, whose times change when a layer is applied, and those of what is gone.
func (l *layer) choose(list []tree.Change) {
	gone := map[string]bool{}
	for _, c := range list { // a directory comes before what is in it
		dir := path.Dir(c.Path)
		switch {
		case c.Kind != "removed":
			l.wanted[c.Path], l.wanted[dir] = true, true
			gone[c.Path] = c.What == "type" // a directory goes with all that was in it
		case gone[dir]:
			gone[c.Path] = true
		default:
			gone[c.Path], l.wanted[dir] = true, true
			l.gone = append(l.gone, c.Path)
		}
	}
}

// has returns whether the layer has an entry: a file that is replaced loses its other
// names, so these are written, too.
func (l *layer) has(e *tree.Entry) bool { return l.wanted[e.Path] || e.Link != "" && l.wanted[e.Link] }

// addLinks adds the directories of other names of files, and checks all names.
func (l *layer) addLinks(ctx context.Context, top int) error {
	directories := map[string]bool{}
	err := tree.Walk(ctx, top, func(e *tree.Entry, _ tree.Opener) error {
		if l.has(e) && !l.wanted[e.Path] {
			directories[path.Dir(e.Path)] = true
		}
		if l.has(e) {
			return checkName(e.Path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for dir := range directories {
		if l.wanted[dir] = true; dir != "." {
			if err := checkName(dir); err != nil {
				return err
			}
		}
	}
	return nil
}
