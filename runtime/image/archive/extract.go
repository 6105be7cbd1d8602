package archive

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"path"
	goruntime "runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/mount"
	"mayfly/nsexec"
	"mayfly/runtime/here"
	"mayfly/runtime/image/tree"
)

// An Extractor extracts archives into a tree. Its holder must Finish or Close it.
type Extractor struct {
	// Dropped is the number of extended attributes that were left out.
	Dropped int
	// Powerless leaves out device nodes and file capabilities. Only root can make them,
	// and not in a user namespace. They have no effect in containers.
	Powerless bool

	Here     here.Here
	top      int // the tree's directory, owned by the caller
	inside   mount.Root
	place    place
	spool    string // a directory for files without a name
	limits   *Limits
	sums     sums
	progress func(int64)
	parent   parent
	times    *os.File // of directories, to be set when all is in them
	timesOut *bufio.Writer
	writer   contentWriter
	layer    map[uint64]struct{} // hashes of the names that this layer has made; nil: not a layer
	seed     maphash.Seed
}

// NewExtractor returns an Extractor into an open directory, which the caller keeps.
// spool is a directory for a file without a name. The Extractor calls progress with the
// bytes of content since the last call; progress may be nil.
func NewExtractor(h here.Here, top int, spool string, limits *Limits, progress func(int64)) (*Extractor, error) {
	place, err := placeOf(top)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Open(spool, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make a file in %s: %w", spool, err)
	}
	times := os.NewFile(uintptr(fd), spool)
	if progress == nil {
		progress = func(int64) {}
	}
	x := &Extractor{Here: h, top: top, inside: mount.RootAt(top), place: place, spool: spool, limits: limits, progress: progress,
		sums: sums{map[uint64]tree.Sum{}, maxSums}, parent: parent{path: stale, fd: -1}, times: times, timesOut: bufio.NewWriterSize(times, 64<<10), seed: maphash.MakeSeed(), Powerless: h.Rootless()}
	return x, x.setLater("", time.Unix(0, 0))
}

// Sums returns the checksums of the extracted files' contents, by inode number. It is
// to be called when everything is extracted: then all of these files exist.
func (x *Extractor) Sums() map[uint64]tree.Sum { return x.sums.byInode }

// Close closes the extractor's descriptors. The tree stays.
func (x *Extractor) Close() error {
	x.forgetParent()
	x.writer.stop()
	return x.times.Close()
}

// Extract reads a tar archive to its end.
func (x *Extractor) Extract(ctx context.Context, r io.Reader) error {
	x.layer = nil
	return x.extract(ctx, r, x.entry)
}

// ExtractTree copies the tree below an open directory, which the caller keeps. It does
// so with an archive, so that only one piece of code needs to know what belongs to a
// tree.
func (x *Extractor) ExtractTree(ctx context.Context, from int) error {
	rights, err := nsexec.CurrentRights()
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		out := bufio.NewWriterSize(w, 256<<10)
		goruntime.LockOSThread() // for good: the thread ends with the goroutine
		err := rights.Take()
		if err == nil {
			err = Write(ctx, out, from, nil)
		}
		w.CloseWithError(errors.Join(err, out.Flush()))
	}()
	err = x.Extract(ctx, bufio.NewReaderSize(r, 256<<10))
	r.Close()
	<-done
	return err
}

func (x *Extractor) extract(ctx context.Context, r io.Reader, take func(*tar.Header, string, io.Reader) error) error {
	r = x.limits.reader(ctx, r)
	source := &ending{Reader: r}
	archive := tar.NewReader(source)
	content := tree.Interruptible(ctx, archive) // of holes nothing is read from r
	for {
		h, err := archive.Next()
		if err == io.EOF && source.ended && x.layer == nil { // a layer has a digest
			return errCutOff
		}
		if err == io.EOF {
			// Read also what follows the end mark: the program that decompresses it may
			// report an error there.
			_, err := io.Copy(io.Discard, r)
			return err
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("read the archive: %w", err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if err := x.limits.takeEntries(1); err != nil {
			return err
		}
		name, err := cleanName(h.Name)
		if err == nil {
			err = take(h, name, content)
		}
		if err != nil {
			return fmt.Errorf("extract %s: %w", quoted(h.Name), err)
		}
	}
}

// errCutOff means that a stream ended where an entry could follow. An archive ends in
// two blocks of zeros (POSIX.1-2001, pax), which package tar does not insist on.
var errCutOff = errors.New("read the archive: it is cut off: the two blocks of zeros at its end are missing")

// An ending is a reader that takes note of its end. Package tar reads no further than
// the two blocks of zeros.
type ending struct {
	io.Reader
	ended bool
}

func (e *ending) Read(data []byte) (int, error) {
	n, err := e.Reader.Read(data)
	e.ended = e.ended || n == 0 && err == io.EOF
	return n, err
}

// quoted quotes a name for an error, and cuts it: a name in an archive can have a
// megabyte.
func quoted(name string) string {
	if len(name) > unix.NAME_MAX {
		name = name[:unix.NAME_MAX] + "..."
	}
	return strconv.QuoteToASCII(name)
}

// cleanName makes a name relative to the tree. It refuses any name with "..", also one
// that stays inside: no honest program writes such a name.
func cleanName(name string) (string, error) {
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", errors.New(`names with ".." are refused`)
		}
	}
	return path.Clean("/" + name)[1:], nil
}

// entry makes the entry of a header.
func (x *Extractor) entry(h *tar.Header, name string, content io.Reader) error {
	if h.Uid < 0 || h.Gid < 0 || h.Uid >= 1<<32-1 || h.Gid >= 1<<32-1 {
		return fmt.Errorf("owner %d:%d is out of range", h.Uid, h.Gid)
	}
	attributes, err := x.attributes(h)
	if err != nil {
		return err
	}
	if name == "" {
		if h.Typeflag != tar.TypeDir {
			return errors.New("the top of the tree must be a directory")
		}
		return x.directory(x.top, ".", name, h, attributes)
	}
	dir, err := x.openParent(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	if err := x.mark(name); err != nil {
		return err
	}
	err = x.make(dir, base, name, h, attributes, content)
	if err == unix.EEXIST {
		if err = x.remove(dir, base); err == nil {
			err = x.make(dir, base, name, h, attributes, content)
		}
	}
	return err
}

// remove removes an entry with its content. The remembered parent may be in it.
func (x *Extractor) remove(dir int, base string) error {
	x.parent.path = stale // dir itself is still in use
	return tree.Remove(dir, base, x.sums.forget)
}

// make makes an entry. If the name exists already, it returns EEXIST before it reads
// any content. An existing directory stays, and gets the attributes.
func (x *Extractor) make(dir int, base, name string, h *tar.Header, attributes []tree.Xattr, content io.Reader) error {
	mode := uint32(h.Mode & 0o7777)
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		return x.file(dir, base, h, attributes, content)
	case tar.TypeDir:
		if x.parent.depth >= maxDepth {
			return errDepth()
		}
		if err := unix.Mkdirat(dir, base, 0o700); err != nil && (err != unix.EEXIST || !isDirectory(dir, base)) {
			return err
		}
		return x.directory(dir, base, name, h, attributes)
	case tar.TypeLink:
		return x.link(dir, base, h.Linkname)
	case tar.TypeSymlink:
		if err := unix.Symlinkat(h.Linkname, dir, base); err != nil {
			return err
		}
	case tar.TypeFifo:
		if err := unix.Mknodat(dir, base, unix.S_IFIFO|mode, 0); err != nil {
			return err
		}
	case tar.TypeChar, tar.TypeBlock:
		if x.Powerless {
			return nil
		}
		kind := uint32(unix.S_IFCHR)
		if h.Typeflag == tar.TypeBlock {
			kind = unix.S_IFBLK
		}
		if uint64(h.Devmajor) >= 1<<12 || uint64(h.Devminor) >= 1<<20 {
			return fmt.Errorf("device %d:%d is out of range", h.Devmajor, h.Devminor)
		}
		if err := unix.Mknodat(dir, base, kind|mode, int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor)))); err != nil {
			return err
		}
	default:
		return fmt.Errorf("entries of type %q are not supported", h.Typeflag)
	}
	return x.setAttributes(dir, base, h, attributes)
}

// link makes a hard link. The path of its source is resolved inside the tree. If the
// source is a symbolic link, the hard link is another name of that symbolic link.
func (x *Extractor) link(dir int, base, target string) error {
	source, err := cleanName(target)
	if err != nil {
		return fmt.Errorf("hard link to %s: %w", quoted(target), err)
	}
	from, err := x.inside.Open("/"+path.Dir(source), unix.O_PATH|unix.O_DIRECTORY)
	if err == nil {
		err = unix.Linkat(from, path.Base(source), dir, base, 0)
		unix.Close(from)
	}
	if err == unix.EEXIST {
		return err
	}
	if err != nil {
		return fmt.Errorf("hard link to %s: %w", quoted(target), err)
	}
	return nil
}

func (x *Extractor) file(dir int, base string, h *tar.Header, attributes []tree.Xattr, content io.Reader) error {
	fd, err := unix.Openat(dir, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	sum, err := x.write(fd, h, content)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	x.sums.note(st.Ino, sum)
	if err := x.own(fd, &st, h, attributes); err != nil {
		return err
	}
	return unix.UtimesNanoAt(fd, "", timespecs(h.ModTime), unix.AT_EMPTY_PATH)
}

// write writes a file's content. Against the limits, content counts while it is read,
// and the holes of a sparse file after that.
func (x *Extractor) write(fd int, h *tar.Header, content io.Reader) (tree.Sum, error) {
	before := x.limits.Bytes
	if h.Size > before {
		return tree.Sum{}, errTooLarge
	}
	sum, err := x.writer.write(fd, content, h.Size, x.progress)
	if err == nil {
		err = x.limits.takeBytes(max(h.Size-(before-x.limits.Bytes), 0))
	}
	return sum, err
}
