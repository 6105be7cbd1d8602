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

// ExtractLayer reads a layer of an OCI image on top of what is there: an entry .wh.NAME removes NAME,
// .wh..wh..opq all that earlier layers have put into the directory. Neither takes away what
// this layer itself makes, wherever in it they stand.
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

// mark remembers that this layer has made an entry, and the directories above it. By
// links one of these can have any number of names, so each counts.
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

// made tells whether this layer has made an entry of that name.
func (x *Extractor) made(name string) bool {
	_, ok := x.layer[x.hash(name)]
	return ok
}

// hide removes what earlier layers have put at name in dir, or all that they have put into
// dir if name is empty.
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

// hideOne removes an entry. A directory that this layer has an entry for stays, without what
// earlier layers have put into it.
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
