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
// open directories. progress is that of Write.
func WriteChanges(ctx context.Context, w io.Writer, base, top int, progress func(int64)) error {
	list, err := tree.Diff(ctx, base, top)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(w)
	changed, err := writeWhiteouts(archive, list)
	if err != nil {
		return err
	}
	return write(ctx, archive, top, func(e *tree.Entry) bool {
		// A file that is replaced loses its other names.
		return changed[e.Path] || e.Link != "" && changed[e.Link]
	}, progress)
}

// writeWhiteouts writes a whiteout for each entry that is gone, and returns the paths
// whose entries a layer must have: those that are new or different, and the directories
// that they and the whiteouts are in, whose times change when a layer is applied.
func writeWhiteouts(archive *tar.Writer, list []tree.Change) (map[string]bool, error) {
	changed, gone := map[string]bool{".": true}, map[string]bool{}
	for _, c := range list { // a directory comes before what is in it
		dir, base := path.Split(c.Path)
		dir = path.Clean(dir)
		switch {
		case c.Kind != "removed":
			if strings.HasPrefix(base, whiteout) {
				return nil, fmt.Errorf("archive %s: %w", c.Path, ErrWhiteoutName)
			}
			changed[c.Path], changed[dir] = true, true
			// What was a directory goes with all that was in it.
			gone[c.Path] = c.What == "type"
		case gone[dir]:
			gone[c.Path] = true
		default:
			gone[c.Path], changed[dir] = true, true
			if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path.Join(dir, whiteout+base), Format: tar.FormatPAX}); err != nil {
				return nil, fmt.Errorf("archive %s: %w", c.Path, err)
			}
		}
	}
	return changed, nil
}
