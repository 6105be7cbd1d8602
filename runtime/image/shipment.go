package image

import (
	"context"
	"fmt"
	"io"
	"strings"

	"mayfly/runtime/image/archive"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/internal/exact"
)

// A shipment is the first line of Send's output. The content follows.
type shipment struct {
	Format string `json:"mayfly-image"` // nativeFormat or archiveFormat
	Name   string `json:"name"`
	Record Record `json:"record"`
	Base   string `json:"base,omitempty"` // digest of the version to which the content's changes apply
}

// Formats of what follows a shipment's first line.
const (
	nativeFormat  = "1" // the stream of btrfs-send(8)
	archiveFormat = "2" // a tar archive; if there is a base, a layer
)

const maxShipment = 8 << 20

// open reads the first line of a shipment, which may be compressed. The content is what
// the second result reads: r itself, unless that is compressed. The caller must close it,
// which does not close r.
func (s *Store) open(ctx context.Context, r io.Reader) (shipment, io.ReadCloser, error) {
	var content io.ReadCloser = notClosed{r}
	var first [1]byte
	if _, err := io.ReadFull(r, first[:]); err != nil {
		return shipment{}, content, fmt.Errorf("not what `runtime image send` writes: %w", err)
	}
	start := io.MultiReader(strings.NewReader(string(first[:])), r)
	if first[0] != '{' {
		var err error
		if content, err = archive.DecompressStream(ctx, s.Here, start); err != nil {
			return shipment{}, notClosed{r}, err
		}
		start = content
	}
	head, err := readShipment(start)
	return head, content, err
}

type notClosed struct{ io.Reader }

func (notClosed) Close() error { return nil }

// readShipment reads the first line, and not a byte more.
func readShipment(r io.Reader) (shipment, error) {
	var head shipment
	var line []byte
	var one [1]byte
	for len(line) < maxShipment {
		if _, err := io.ReadFull(r, one[:]); err != nil {
			return head, fmt.Errorf("not what `runtime image send` writes: %w", err)
		}
		if one[0] == '\n' {
			break
		}
		if line = append(line, one[0]); line[0] != '{' {
			break
		}
	}
	if err := exact.Unmarshal(line, &head); err != nil || head.Format != nativeFormat && head.Format != archiveFormat {
		return head, fmt.Errorf("not what `runtime image send` writes, format %q or %q", nativeFormat, archiveFormat)
	}
	if _, ok := ref.ParseVersion(fmt.Sprint(head.Record.Version)); !ok {
		return head, fmt.Errorf("version %d: want a number from 1", head.Record.Version)
	}
	return head, ref.CheckName("image", head.Name)
}
