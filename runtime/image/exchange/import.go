// Package exchange imports and exports root file systems: directories, tar archives,
// OCI layouts, docker save's archives, squashfs, disk images. It never uses the
// network.
package exchange

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/personality/arch"
	"mayfly/runtime/here"
	"mayfly/runtime/image/archive"
	"mayfly/runtime/image/disk"
	"mayfly/runtime/image/oci"
	"mayfly/runtime/image/tree"
	"mayfly/runtime/internal/file"
)

// A Source is the source of an import.
type Source struct {
	Name      string // a file or directory, or "-" for standard input
	Reference string // which image of several, "" for the only one
	Arch      string // Debian's name of the architecture, to choose by; "" for any
}

// Size returns about how many bytes of content the source has, 0 if that is unknown.
func (s Source) Size() int64 {
	info, err := os.Stat(s.Name)
	if err != nil || !info.Mode().IsRegular() || filepath.Ext(s.Name) != ".tar" {
		return 0
	}
	return info.Size()
}

// Where is the destination of an import.
type Where struct {
	Here     here.Here
	Top      int    // an empty directory, the caller's
	Spool    string // a directory of the same file system for files without a name
	Limits   archive.Limits
	Progress func(int64) // bytes of content since the last time; may be nil
}

// A Result is the result of an import.
type Result struct {
	Origin  string // in words
	Labels  map[string]string
	Config  *oci.Settings       // of an image's configuration; nil: none
	Sums    map[uint64]tree.Sum // of contents, by inode
	Dropped int                 // extended attributes that do not belong into an image
}

// Import fills a directory. After an error, the caller must remove what Import has
// made.
func Import(ctx context.Context, s Source, to Where) (Result, error) {
	x, err := archive.NewExtractor(to.Here, to.Top, to.Spool, &to.Limits, to.Progress)
	if err != nil {
		return Result{}, err
	}
	defer x.Close()
	r, err := extract(ctx, s, x)
	if err == nil {
		err = x.Finish(ctx)
	}
	if err != nil {
		return r, fmt.Errorf("import %s: %w", s.Name, err)
	}
	r.Sums, r.Dropped = x.Sums(), x.Dropped
	return r, nil
}

func extract(ctx context.Context, s Source, x *archive.Extractor) (Result, error) {
	if s.Name == "-" {
		return extractStream(ctx, os.Stdin, s, x)
	}
	look, err := unix.Open(s.Name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return Result{}, err
	}
	defer unix.Close(look)
	var st unix.Stat_t
	if err := unix.Fstat(look, &st); err != nil {
		return Result{}, err
	}
	switch kind := st.Mode & unix.S_IFMT; {
	case kind == unix.S_IFDIR && oci.IsDirectory(s.Name):
		layout, err := oci.OpenDirectory(s.Name)
		if err != nil {
			return Result{}, err
		}
		return extractImage(ctx, layout, s, x)
	case kind == unix.S_IFDIR:
		return extractDirectory(ctx, s.Name, x)
	case kind != unix.S_IFREG && kind != unix.S_IFIFO:
		return Result{}, errors.New("want a file or a directory")
	}
	// Open the file that was checked, not its name: that may lead to a device by now.
	fd, err := file.Reopen(look, unix.O_RDONLY)
	if err != nil {
		return Result{}, err
	}
	source := os.NewFile(uintptr(fd), s.Name)
	defer source.Close()
	if st.Mode&unix.S_IFMT == unix.S_IFREG && disk.Named(s.Name) && disk.Is(source) {
		return extractDisk(ctx, source, st.Size, s, x)
	}
	return extractStream(ctx, source, s, x)
}

func extractDirectory(ctx context.Context, name string, x *archive.Extractor) (Result, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return Result{}, err
	}
	defer unix.Close(fd)
	return Result{Origin: "import of directory " + absolute(name)}, x.ExtractTree(ctx, fd)
}

func absolute(name string) string {
	if path, err := filepath.Abs(name); err == nil {
		return path
	}
	return name
}

// beginning is the number of bytes from which a stream's format is determined: the
// magic number of BTRFS is at 64 KiB.
const beginning = 68 << 10

// extractStream extracts a file or pipe. The first bytes and the first entry determine
// the format.
func extractStream(ctx context.Context, source *os.File, s Source, x *archive.Extractor) (Result, error) {
	content, err := x.Decompress(ctx, source)
	if err != nil {
		return Result{}, err
	}
	defer content.Close()
	buffered := bufio.NewReaderSize(content, 256<<10)
	start, err := buffered.Peek(beginning)
	if err != nil && err != io.EOF {
		return Result{}, err
	}
	first, err := firstEntry(start)
	if advice := disk.Advice(bytes.NewReader(start)); err != nil && advice != "" {
		return Result{}, errors.New("it is " + advice)
	}
	if err != nil {
		return Result{}, noArchive(s.Name, err)
	}
	if !oci.Belongs(first) {
		name := s.Name
		if name != "-" {
			name = absolute(name)
		}
		return Result{Origin: "import of archive " + name}, x.Extract(ctx, buffered)
	}
	spooled, err := x.Spool(ctx, buffered)
	if err != nil {
		return Result{}, err
	}
	layout, err := oci.OpenTar(ctx, spooled)
	if err != nil {
		return Result{}, err
	}
	return extractImage(ctx, layout, s, x)
}

// noArchive returns the error for a file that was read as an archive and is none.
func noArchive(name string, err error) error {
	switch {
	case disk.Named(name):
		return errors.New("it holds neither a partition table nor a file system that is known: " + disk.Known())
	case errors.Is(err, io.EOF):
		err = errors.New("it is empty, or of zeros only")
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("it ends too early")
	}
	return fmt.Errorf("not an archive: %w", err)
}

// firstEntry finds the name of the first entry besides the top directory.
func firstEntry(start []byte) (string, error) {
	r := tar.NewReader(bytes.NewReader(start))
	for {
		h, err := r.Next()
		if err != nil {
			return "", err
		}
		if name := path.Clean("/" + h.Name)[1:]; name != "" && h.Typeflag != tar.TypeXGlobalHeader {
			return name, nil
		}
	}
}

func extractImage(ctx context.Context, layout *oci.Archive, s Source, x *archive.Extractor) (Result, error) {
	defer layout.Close()
	machine := ""
	if s.Arch != "" {
		a, err := arch.ByName(s.Arch)
		if err != nil {
			return Result{}, err
		}
		machine = a.Go
	}
	image, err := layout.Find(s.Reference, machine)
	if err != nil {
		return Result{}, err
	}
	settings, err := image.Settings.Checked()
	if err != nil {
		return Result{}, err
	}
	origin := strings.TrimSpace("import of image " + image.Name)
	return Result{Origin: origin + " " + image.Digest, Labels: image.Labels, Config: settings}, image.Extract(ctx, x)
}
