package archive

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"mayfly/runtime/here"
)

// A format is a compression, with its first bytes and the program that decompresses it.
// A program runs confined, and on another processor. A library would not, and its
// tables would cost each launch a millisecond.
type format struct {
	name, magic, program, pkg string
	decompress, compress      []string
}

var formats = []format{
	{"gzip", "\x1f\x8b", "gzip", "gzip", []string{"-dc"}, []string{"-nc"}},
	{"xz", "\xfd7zXZ\x00", "xz", "xz-utils", []string{"-dc", "-T0", "--memlimit-decompress=256MiB"}, []string{"-c", "-T0"}},
	{"zstd", "\x28\xb5\x2f\xfd", "zstd", "zstd", []string{"-dcq", "--memory=256MB"}, []string{"-cq"}},
	{"bzip2", "BZh", "bzip2", "bzip2", []string{"-dc"}, []string{"-c"}},
}

// squashfs is decompressed into a tar archive.
var squashfs = format{"squashfs", "hsqs", "sqfs2tar", "squashfs-tools-ng", []string{"--root-becomes", ".", "/proc/self/fd/0"}, nil}

// Decompress returns the content of a stream that may be compressed, as its first bytes
// say; for squashfs, a tar archive. The stream starts at r's offset. The caller must
// close the reader. If the program fails, the last Read returns an error.
func (x *Extractor) Decompress(ctx context.Context, r *os.File) (io.ReadCloser, error) {
	begin, noFile := r.Seek(0, io.SeekCurrent)
	buffered := bufio.NewReaderSize(r, 64<<10)
	start, err := buffered.Peek(6)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("read %s: %w", r.Name(), err)
	}
	if bytes.HasPrefix(start, []byte(squashfs.magic)) {
		// The program opens the file again, with other ids.
		file, err := x.Spool(ctx, buffered)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		if err := file.Chmod(0o444); err != nil {
			return nil, err
		}
		return run(ctx, x.Here, squashfs, squashfs.decompress, file)
	}
	// A program reads a file itself. Of a pipe, what was read already is passed on.
	for _, f := range formats {
		if noFile == nil && bytes.HasPrefix(start, []byte(f.magic)) {
			if _, err := r.Seek(begin, io.SeekStart); err != nil {
				return nil, fmt.Errorf("read %s: %w", r.Name(), err)
			}
			return run(ctx, x.Here, f, f.decompress, r)
		}
	}
	return DecompressStream(ctx, x.Here, buffered)
}

// Spool copies a stream into a file without a name on the file system of the tree. It
// counts against the limits.
func (x *Extractor) Spool(ctx context.Context, r io.Reader) (*os.File, error) {
	return Spool(x.spool, x.limits.reader(ctx, r))
}

// Spool copies a stream into a file without a name in a directory.
func Spool(dir string, r io.Reader) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make a file in %s: %w", dir, err)
	}
	file := os.NewFile(uintptr(fd), dir)
	if _, err = io.Copy(file, r); err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("keep the archive in %s: %w", dir, err)
	}
	return file, nil
}

// DecompressStream is Decompress for streams that are not files and not squashfs.
func DecompressStream(ctx context.Context, h here.Here, r io.Reader) (io.ReadCloser, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	start, err := buffered.Peek(6)
	if err != nil && err != io.EOF {
		return nil, err
	}
	for _, f := range formats {
		if bytes.HasPrefix(start, []byte(f.magic)) {
			return run(ctx, h, f, f.decompress, buffered)
		}
	}
	return io.NopCloser(buffered), nil
}

// Compress returns a writer that compresses to w. The caller must Close it, which waits
// until everything is written.
func Compress(ctx context.Context, h here.Here, name string, w io.Writer) (io.WriteCloser, error) {
	if name == "" || name == "none" {
		return nopCloser{w}, nil
	}
	for _, f := range formats {
		if f.name != name {
			continue
		}
		cmd, err := command(ctx, h, f, f.compress)
		if err != nil {
			return nil, err
		}
		cmd.Stdout = w
		in, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.start(nil)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		return &compressor{in, cmd}, nil
	}
	return nil, fmt.Errorf("compression %q: want gzip, xz, zstd, bzip2 or none", name)
}
