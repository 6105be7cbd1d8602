package archive

import (
	"archive/tar"
	"context"
	"errors"
	"hash/maphash"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Names of whiteouts, from OCI's image-spec (layer.md) and, before it, aufs.
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
	reserved = ".wh..wh." // what else begins so was aufs's own
)

// ExtractLayer applies a layer of an OCI image. An entry .wh.NAME removes NAME, and
// .wh..wh..opq removes everything in its directory. Neither removes what this layer
// itself makes, in whatever order.
func (x *Extractor) ExtractLayer(ctx context.Context, r io.Reader) error {
	x.layer = map[uint64]struct{}{}
	defer func() { x.layer = nil }()
	return x.extract(ctx, r, func(h *tar.Header, name string, content io.Reader) error {
		base := path.Base(name)
		hidden, is := strings.CutPrefix(base, whiteout)
		switch {
		case !is:
			return x.entry(h, name, content)
		case base == opaque:
			return x.hide(path.Dir(name), "")
		case strings.HasPrefix(base, reserved):
			return nil
		case hidden == "" || hidden == "." || hidden == "..":
			return errors.New("a whiteout of no name")
		}
		return x.hide(path.Dir(name), hidden)
	})
}

func (x *Extractor) hash(name string) uint64 { return maphash.String(x.seed, name) }

// mark records that this layer has made an entry and the directories above it. With
// links, each of these can have any number of names, so all names count against the
// limits.
func (x *Extractor) mark(name string) error {
	for ; x.layer != nil && name != "."; name = path.Dir(name) {
		if x.made(name) {
			return nil
		}
		if err := x.limits.takeEntries(1); err != nil {
			return err
		}
		x.layer[x.hash(name)] = struct{}{}
	}
	return nil
}

// made returns whether this layer has made an entry of that name.
func (x *Extractor) made(name string) bool {
	_, ok := x.layer[x.hash(name)]
	return ok
}

// hide removes the entry name of earlier layers from dir; if name is empty, all entries
// of earlier layers.
func (x *Extractor) hide(dir, name string) error {
	fd, err := x.inside.Open("/"+dir, unix.O_RDONLY|unix.O_DIRECTORY)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return nil // nothing to hide
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	x.forgetParent() // it may be removed
	if name != "" {
		return x.hideOne(fd, name, path.Join(dir, name))
	}
	return x.hideAll(fd, dir)
}

func (x *Extractor) hideAll(fd int, dir string) error {
	list, err := names(fd)
	if err != nil {
		return err
	}
	for _, name := range list {
		if err := x.hideOne(fd, name, path.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// hideOne removes an entry of earlier layers. If this layer has an entry for it, a
// directory stays, without the entries of earlier layers.
func (x *Extractor) hideOne(parent int, name, full string) error {
	if !x.made(full) {
		return x.remove(parent, name)
	}
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOTDIR || err == unix.ELOOP {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return x.hideAll(fd, full)
}

func names(dir int) ([]string, error) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	directory := os.NewFile(uintptr(fd), "/proc/self/fd/"+strconv.Itoa(dir))
	defer directory.Close()
	return directory.Readdirnames(-1)
}
