package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// A directory is a published directory, as on a network file system.
type directory struct {
	path  string
	trust Trust
}

func (d directory) Index(ctx context.Context) (Index, error) {
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return Index{}, fmt.Errorf("open the source: %w", err)
	}
	defer root.Close()
	data, err := readIndex(root)
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("there is no %s: `runtime image publish %s` makes it", IndexName, d.path)
	}
	var index Index
	if err == nil {
		index, err = d.trust.open(ctx, data)
	}
	if err != nil {
		return index, fmt.Errorf("source %s: %w", d.path, err)
	}
	return index, nil
}

// readIndex reads the index of an open directory.
func readIndex(root *os.Root) ([]byte, error) {
	info, err := root.Stat(IndexName)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // opening a FIFO would wait
		return nil, fmt.Errorf("%s is no file", IndexName)
	}
	file, err := root.Open(IndexName)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readBounded(file)
}

func (d directory) Open(_ context.Context, w Wanted) (*Content, error) {
	f, err := w.choose()
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	info, err := root.Stat(f.Name)
	if err == nil && (!info.Mode().IsRegular() || info.Size() != f.Bytes) {
		err = fmt.Errorf("%s has %d bytes, the index says %d", filepath.Join(d.path, f.Name), info.Size(), f.Bytes)
	}
	if err != nil {
		return nil, err
	}
	file, err := root.Open(f.Name)
	if err != nil {
		return nil, err
	}
	return &Content{ReadCloser: file, Archive: true, Base: f.Base}, nil
}

func readBounded(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxIndex+1))
	if err == nil && len(data) > maxIndex {
		err = fmt.Errorf("the index has more than %d bytes", maxIndex)
	}
	return data, err
}
