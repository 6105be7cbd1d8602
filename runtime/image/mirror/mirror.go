// Package mirror brings the images of one store to others: by a directory of files that
// any web server or network file system serves, or by ssh(1).
//
// What is brought is checked twice: the record of a version is that of the source's
// index, which can be signed, and the content has to have the digest in the record. If
// the index is signed, a server of the files cannot change an image.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"

	"mayfly/runtime/image"
	"mayfly/runtime/image/archive"
)

// A Wanted is a version that the store lacks.
type Wanted struct {
	Image Image
	Version
	// Here has the source's versions that the store has, by digest. Their numbers can
	// be others there.
	Here map[string]image.Entry
	// Streams are the stream ids of these, by digest; nil: the store is not on BTRFS.
	Streams map[string]string
}

// A Source is where images come from.
type Source interface {
	Index(ctx context.Context) (Index, error)
	// Open returns the content of a version. The caller must close it.
	Open(ctx context.Context, w Wanted) (*Content, error)
}

// A Content is what image.Store.Receive reads.
type Content struct {
	io.ReadCloser
	Archive bool   // no stream of btrfs-send(8)
	Base    string // digest of the version that it builds on; "": none
	// Failed returns why what came is not whole, if the other side knows; may be nil.
	Failed func() error
	// Drop is called for what is of no use, and would otherwise be kept; may be nil.
	Drop func()
}

// Options say how a source is mirrored.
type Options struct {
	Names   []string // of images; none: all
	Current bool     // bring only the current version of each
	Prune   bool     // remove versions of these images that the source has no more
	Limits  archive.Limits
	// Fetching is told which version comes next. Progress is told bytes of its content.
	Fetching func(name string, version int)
	Progress func(int64)
	// Done is told of each image.
	Done func(Result)
}

// A Result says what has become of an image.
type Result struct {
	Name    string `json:"name"`
	Current int    `json:"current"`
	Was     int    `json:"was,omitempty"` // the current version before, if it was another
	Brought []int  `json:"brought"`
	Removed []int  `json:"removed"`
	InUse   []int  `json:"inUse"` // would have been removed
}

// Sync makes a store's images what they are at the source: versions, their numbers, and
// which is current. A version gets current when all are there. An image that cannot be
// brought does not keep others from coming. Only one process does this with a store at a
// time.
func Sync(ctx context.Context, s *image.Store, from Source, o Options) error {
	done, err := s.BeginTurn()
	if err != nil {
		return err
	}
	defer done()
	index, err := from.Index(ctx)
	if err != nil {
		return err
	}
	list, err := index.choose(o.Names)
	if err != nil {
		return err
	}
	var errs []error
	for _, img := range list {
		r, err := syncImage(ctx, s, from, index.BTRFS, img, o)
		if err != nil {
			errs = append(errs, fmt.Errorf("image %s: %w", img.Name, err))
		} else {
			o.Done(r)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}
