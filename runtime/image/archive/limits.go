package archive

import (
	"context"
	"errors"
	"io"
)

// Limits bound what an archive can make. A compressed one of a few bytes can hold any number of
// zeros, of empty files or of attributes. They are used up while it is read.
type Limits struct {
	// Bytes are all that is read of it, once it is decompressed: names, targets of
	// links, attributes and what is between the files as well as their contents. Holes
	// count too, and so does what is kept of it in files without a name.
	Bytes int64
	// Entries are files, directories without an entry of their own, and further names of directories.
	Entries int64
}

var (
	errTooLarge = errors.New("the archive has more content than an image may have: see --max-size")
	errTooMany  = errors.New("the archive has more entries than an image may have")
)

func (l *Limits) takeBytes(n int64) error {
	if n > l.Bytes {
		return errTooLarge
	}
	l.Bytes -= n
	return nil
}

func (l *Limits) takeEntries(n int) error {
	if int64(n) > l.Entries {
		return errTooMany
	}
	l.Entries -= int64(n)
	return nil
}

// reader returns a reader that counts what is read, and ends with the context.
func (l *Limits) reader(ctx context.Context, r io.Reader) io.Reader { return &counted{ctx, l, r} }

type counted struct {
	ctx    context.Context
	limits *Limits
	io.Reader
}

func (c *counted) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.Reader.Read(b)
	if over := c.limits.takeBytes(int64(n)); over != nil {
		return 0, over
	}
	return n, err
}
