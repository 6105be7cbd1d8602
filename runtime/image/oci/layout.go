package oci

import (
	"archive/tar"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/mount"
)

// An Archive is an open layout. Its holder must Close it.
type Archive struct {
	open  func(name string) (*io.SectionReader, io.Closer, error)
	close func() error
	has   func(name string) bool
}

// Close closes the layout.
func (a *Archive) Close() error { return a.close() }

// OpenDirectory opens a layout in a directory.
func OpenDirectory(name string) (*Archive, error) {
	dir, err := unix.Open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	inside := mount.RootAt(dir)
	open := func(name string) (*io.SectionReader, io.Closer, error) {
		fd, err := inside.OpenRegular("/" + name)
		if err != nil {
			return nil, nil, fmt.Errorf("open %s: %w", strconv.QuoteToASCII(name), err)
		}
		file := os.NewFile(uintptr(fd), name)
		info, err := file.Stat()
		if err != nil {
			return nil, nil, errors.Join(err, file.Close())
		}
		return io.NewSectionReader(file, 0, info.Size()), file, nil
	}
	return &Archive{open: open, close: func() error { return unix.Close(dir) }, has: func(name string) bool {
		_, c, err := open(name)
		return err == nil && c.Close() == nil
	}}, nil
}

// OpenTar opens a layout in an uncompressed tar archive, and takes over the file. It
// reads the headers, and remembers the offset of each member's content.
func OpenTar(ctx context.Context, file *os.File) (*Archive, error) {
	members, err := listMembers(ctx, file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	find := func(name string) (*io.SectionReader, bool) {
		for range maxLinks { // docker save links a layer that it has written before
			m, ok := members[name]
			if !ok || m.link == "" {
				return io.NewSectionReader(file, m.offset, m.size), ok
			}
			name = path.Join(path.Dir(name), m.link)
		}
		return nil, false
	}
	return &Archive{close: file.Close,
		has: func(name string) bool { _, ok := find(name); return ok },
		open: func(name string) (*io.SectionReader, io.Closer, error) {
			r, ok := find(name)
			if !ok {
				return nil, nil, fmt.Errorf("%s is not in the archive", strconv.QuoteToASCII(name))
			}
			return r, io.NopCloser(nil), nil
		}}, nil
}

type member struct {
	offset, size int64
	link         string
}

func listMembers(ctx context.Context, file *os.File) (map[string]member, error) {
	members := map[string]member{}
	r := tar.NewReader(file)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return members, nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("read the archive: %w", err)
		}
		if len(members) == maxMembers {
			return nil, fmt.Errorf("the archive has more than %d members", maxMembers)
		}
		at, err := file.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		name := path.Clean("/" + h.Name)[1:]
		if len(name) > maxName || len(h.Linkname) > maxName {
			continue // no member of a layout; its name could be a megabyte
		}
		switch h.Typeflag {
		case tar.TypeReg:
			members[name] = member{offset: at, size: h.Size}
		case tar.TypeSymlink:
			members[name] = member{link: h.Linkname}
		}
	}
}

// Belongs returns whether a name can be that of a member of a layout's archive. If the
// first name cannot, the archive is that of a root file system.
func Belongs(name string) bool {
	name = path.Clean("/" + name)[1:]
	first, _, _ := strings.Cut(name, "/")
	switch first {
	case "blobs", layoutFile, indexFile, dockerFile, "repositories":
		return true
	}
	first = strings.TrimSuffix(strings.TrimSuffix(first, ".json"), ".tar")
	_, err := hex.DecodeString(first)
	return err == nil && len(first) == 64
}

// IsDirectory returns whether a directory contains a layout.
func IsDirectory(name string) bool {
	_, err := os.Lstat(path.Join(name, layoutFile))
	return err == nil
}
