package archive

import (
	"context"
	"errors"
	"io"
)

// Limits limit what an archive can make. A compressed archive of a few bytes can
// contain any number of zeros, empty files or attributes. Reading uses the limits up.
type Limits struct {
	// Bytes limits all that is read of the decompressed archive: contents, names,
	// targets of links, attributes, and what is between the files. Holes count, too,
	// and so does what is spooled in files without a name.
	Bytes int64
	// Entries limits files, directories without an entry of their own, and additional
	// names of directories.
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

// reader returns a reader that counts the bytes read against the limits, and ends with
// the context.
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
