package archive

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"

	"golang.org/x/sys/unix"

	"mayfly/runtime/image/tree"
)

const (
	chunkSize = 256 << 10
	blockSize = 4 << 10 // of a hole
	chunks    = 8       // in flight
)

var (
	zeros    [blockSize]byte
	emptySum = sha256.Sum256(nil)
)

// A contentWriter writes files and computes their checksums at the same time, on two
// processors. The zero value is ready.
type contentWriter struct {
	free    chan []byte
	hash    chan []byte // a nil asks for the sum
	sum     chan tree.Sum
	running bool
}

func (w *contentWriter) start() {
	w.free, w.hash, w.sum = make(chan []byte, chunks), make(chan []byte, chunks), make(chan tree.Sum)
	w.running = true
	for range chunks {
		w.free <- make([]byte, chunkSize)
	}
	go w.summer(sha256.New())
}

func (w *contentWriter) summer(h hash.Hash) {
	for b := range w.hash {
		if b != nil {
			h.Write(b)
			w.free <- b[:chunkSize]
			continue
		}
		var sum tree.Sum
		h.Sum(sum[:0])
		h.Reset()
		w.sum <- sum
	}
}

func (w *contentWriter) stop() {
	if w.running {
		close(w.hash)
		w.running = false
	}
}

// write copies size bytes into an open empty file. Blocks of zeros become holes.
func (w *contentWriter) write(fd int, content io.Reader, size int64, progress func(int64)) (tree.Sum, error) {
	if size == 0 {
		return emptySum, nil
	}
	if !w.running {
		w.start()
	}
	err := w.copy(fd, content, size, progress)
	w.hash <- nil
	sum := <-w.sum
	return sum, err
}

func (w *contentWriter) copy(fd int, content io.Reader, size int64, progress func(int64)) error {
	hole := false
	for offset := int64(0); offset < size; {
		b := <-w.free
		n, err := io.ReadFull(content, b[:min(chunkSize, size-offset)])
		b = b[:n]
		if err == nil {
			hole, err = writeSparse(fd, b, offset)
		}
		w.hash <- b
		if err != nil {
			return fmt.Errorf("write at %d of %d bytes: %w", offset, size, err)
		}
		offset += int64(n)
		progress(int64(n))
	}
	if hole {
		return unix.Ftruncate(fd, size)
	}
	return nil
}

// writeSparse writes the blocks of b that are not zero, and returns whether b ends with
// a hole.
func writeSparse(fd int, b []byte, offset int64) (hole bool, err error) {
	from := 0 // of what is to be written
	flush := func(to int) error {
		for from < to {
			n, err := unix.Pwrite(fd, b[from:to], offset+int64(from))
			if err != nil && err != unix.EINTR {
				return err
			}
			from += max(n, 0)
		}
		return nil
	}
	for at := 0; at < len(b); at += blockSize {
		end := min(at+blockSize, len(b))
		if hole = bytes.Equal(b[at:end], zeros[:end-at]); !hole {
			continue
		}
		if err := flush(at); err != nil {
			return false, err
		}
		from = end
	}
	return hole, flush(len(b))
}
