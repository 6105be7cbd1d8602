package tree

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	goruntime "runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Sum is the SHA-256 of a file's content.
type Sum = [sha256.Size]byte

// A Summary is the digest and the size of a tree.
type Summary struct {
	Digest string // "sha256:" and 64 hex digits
	Files  int64  // entries, directories and links included
	Bytes  int64  // as allocated
	FIFOs  int64
}

// Digest computes the digest of a tree. It depends on what is in the tree and on
// nothing else: not on the machine, the file system, inode numbers or the order of
// directories.
//
// It is the SHA-256 of one record for each entry, in the order of Walk. A record is
//
//	TYPE MODE UID GID MTIME NUL PATH NUL CONTENT NUL { NAME NUL LENGTH NUL VALUE } LF
//
// TYPE is one of d f l c b p, or h for another name of an earlier file. MODE is four
// octal digits of permissions. UID and GID are decimal. MTIME is seconds, a dot and
// nine digits of nanoseconds. CONTENT is the hex SHA-256 of a file's content, the
// target of a link, the first name for h, MAJOR:MINOR of a device, and otherwise empty.
// Then the extended attributes that Kept accepts follow, ordered by name, with the
// length of each value. An h has neither mode, owner, time nor attributes.
//
// known are checksums of contents that need not be read, by inode number; it may be
// nil. Digest calls progress with the bytes read since the last call; progress may be
// nil.
func Digest(ctx context.Context, top int, known map[uint64]Sum, progress func(int64)) (Summary, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d := &digester{ctx: ctx, known: known, progress: progress, jobs: make(chan *job, 8), order: make(chan *job, 256)}
	var workers sync.WaitGroup
	for range goruntime.GOMAXPROCS(0) {
		workers.Go(d.work)
	}
	walked := make(chan error, 1)
	go func() {
		err := Walk(ctx, top, func(e *Entry, open Opener) error { return d.visit(ctx, e, open) })
		close(d.jobs)
		close(d.order)
		walked <- err
	}()
	summary, err := d.collect()
	cancel()
	for range d.order { // let the walk end
	}
	if walk := <-walked; err == nil {
		err = walk
	}
	workers.Wait()
	return summary, err
}

// A digester reads the contents of several files at a time and puts the records in
// order.
type digester struct {
	ctx      context.Context
	known    map[uint64]Sum
	progress func(int64)
	jobs     chan *job // to be read
	order    chan *job // in the order of the walk
}

type job struct {
	entry *Entry
	file  *os.File
	sum   Sum
	err   error
	done  chan struct{} // nil: there is nothing to wait for
}

func (d *digester) visit(ctx context.Context, e *Entry, open Opener) error {
	j := &job{entry: e}
	if e.Regular() {
		sum, ok := d.known[e.Inode]
		if j.sum = sum; !ok {
			var err error
			if j.file, err = open(); err != nil {
				return err
			}
			j.done = make(chan struct{})
			d.jobs <- j
		}
	}
	select {
	case d.order <- j:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *digester) work() {
	buffer := make([]byte, 256<<10)
	for j := range d.jobs {
		var n int64
		j.sum, n, j.err = sumUp(d.ctx, j.file, buffer)
		j.file.Close()
		if j.err == nil && n != j.entry.Size {
			j.err = fmt.Errorf("read %s: %d bytes instead of %d", j.entry.Path, n, j.entry.Size)
		}
		close(j.done)
		if d.progress != nil {
			d.progress(n)
		}
	}
}

// Interruptible returns a reader that ends with the context's error when that is done.
func Interruptible(ctx context.Context, r io.Reader) io.Reader { return interruptible{ctx, r} }

type interruptible struct {
	ctx context.Context
	io.Reader
}

func (i interruptible) Read(b []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.Reader.Read(b)
}

// sumUp computes the checksum of a file.
func sumUp(ctx context.Context, file *os.File, buffer []byte) (sum Sum, n int64, err error) {
	h := sha256.New()
	n, err = io.CopyBuffer(h, Interruptible(ctx, file), buffer)
	h.Sum(sum[:0])
	return sum, n, err
}

func (d *digester) collect() (Summary, error) {
	var s Summary
	h := sha256.New()
	out := bufio.NewWriterSize(h, 64<<10)
	for j := range d.order {
		if j.done != nil {
			<-j.done
		}
		if j.err != nil {
			return s, j.err
		}
		s.Files++
		if j.entry.Type() == syscall.S_IFIFO {
			s.FIFOs++
		}
		if j.entry.Link == "" {
			s.Bytes += j.entry.Blocks * 512
		}
		writeRecord(out, j.entry, j.sum)
	}
	out.Flush()
	s.Digest = format(h)
	return s, nil
}

func format(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

func writeRecord(w io.Writer, e *Entry, sum Sum) {
	if e.Link != "" {
		fmt.Fprintf(w, "h\x00%s\x00%s\x00\n", e.Path, e.Link)
		return
	}
	letter, content := e.describe(sum)
	fmt.Fprintf(w, "%c %04o %d %d %d.%09d\x00%s\x00%s\x00", letter, e.Mode&0o7777, e.UID, e.GID,
		e.MTime.Unix(), e.MTime.Nanosecond(), e.Path, content)
	for _, x := range e.Xattrs {
		fmt.Fprintf(w, "%s\x00%d\x00%s", x.Name, len(x.Value), x.Value)
	}
	io.WriteString(w, "\n")
}

func (e *Entry) describe(sum Sum) (letter byte, content string) {
	switch e.Type() {
	case syscall.S_IFDIR:
		return 'd', ""
	case syscall.S_IFREG:
		return 'f', hex.EncodeToString(sum[:])
	case syscall.S_IFLNK:
		return 'l', e.Target
	case syscall.S_IFIFO:
		return 'p', ""
	}
	letter = 'c'
	if e.Type() == syscall.S_IFBLK {
		letter = 'b'
	}
	return letter, fmt.Sprintf("%d:%d", unix.Major(e.Device), unix.Minor(e.Device))
}
