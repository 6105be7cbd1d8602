// Package archive writes directory trees as tar archives, and extracts archives.
//
// An archive is not trusted. Every name in it is resolved inside the tree that is being
// made. Nothing outside of the tree is read, written or linked to, whatever links the
// archive makes first.
package archive

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/runtime/image/tree"
)

// xattrKey is the prefix under which tar archives keep extended attributes.
const xattrKey = "SCHILY.xattr."

// Write writes the tree below an open directory as a tar archive (POSIX.1-2001, times
// to the nanosecond). It writes holes as zeros, and leaves out sockets. It calls
// progress with the bytes of content written since the last call; progress may be nil.
func Write(ctx context.Context, w io.Writer, top int, progress func(int64)) error {
	return write(ctx, tar.NewWriter(w), top, func(*tree.Entry) bool { return true }, progress)
}

// write writes the entries of a tree that are wanted, and ends the archive.
func write(ctx context.Context, archive *tar.Writer, top int, wanted func(*tree.Entry) bool, progress func(int64)) error {
	buffer := make([]byte, 256<<10)
	err := tree.Walk(ctx, top, func(e *tree.Entry, open tree.Opener) error {
		if !wanted(e) {
			return nil
		}
		if err := archive.WriteHeader(header(e)); err != nil {
			return fmt.Errorf("archive %s: %w", e.Path, err)
		}
		if !e.Regular() {
			return nil
		}
		file, err := open()
		if err != nil {
			return err
		}
		defer file.Close()
		n, err := io.CopyBuffer(struct{ io.Writer }{archive}, tree.Interruptible(ctx, io.LimitReader(file, e.Size)), buffer)
		if err == nil && n < e.Size {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("archive %s: %w", e.Path, err)
		}
		if progress != nil {
			progress(n)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return archive.Close()
}

func header(e *tree.Entry) *tar.Header {
	h := &tar.Header{Name: e.Path, Mode: int64(e.Mode & 0o7777), Uid: int(e.UID), Gid: int(e.GID),
		ModTime: e.MTime, Format: tar.FormatPAX}
	for _, x := range e.Xattrs {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[xattrKey+x.Name] = x.Value
	}
	switch {
	case e.Link != "":
		h.Typeflag, h.Linkname, h.PAXRecords = tar.TypeLink, e.Link, nil
	case e.Type() == unix.S_IFREG:
		h.Typeflag, h.Size = tar.TypeReg, e.Size
	case e.Type() == unix.S_IFDIR:
		h.Typeflag, h.Name = tar.TypeDir, strings.TrimSuffix(e.Path, "/")+"/"
	case e.Type() == unix.S_IFLNK:
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.Target
	case e.Type() == unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	default:
		h.Typeflag = tar.TypeChar
		if e.Type() == unix.S_IFBLK {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = int64(unix.Major(e.Device)), int64(unix.Minor(e.Device))
	}
	return h
}
