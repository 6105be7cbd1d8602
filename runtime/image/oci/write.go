package oci

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"mayfly/runtime/here"
	"mayfly/runtime/image/archive"
)

// A Content is the content of an image to be written.
type Content struct {
	Here         here.Here
	Reference    string // name of the image in the layout
	Architecture string // Go's name
	Labels       map[string]string
	Settings     *Settings // nil: none
	Created      time.Time
	Compression  string // of the layer: gzip, zstd or none
	Top          int    // the root file system, an open directory
	Spool        string // a directory for a file without a name
	Progress     func(int64)
}

// A sink takes the files of a layout, of a known size.
type sink func(name string, size int64, content io.Reader) error

// WriteTar writes a layout as a tar archive.
func WriteTar(ctx context.Context, w io.Writer, c Content) error {
	out := tar.NewWriter(w)
	for _, dir := range []string{"blobs/", "blobs/sha256/"} {
		if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755, ModTime: c.Created}); err != nil {
			return err
		}
	}
	err := write(ctx, c, func(name string, size int64, content io.Reader) error {
		if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size, ModTime: c.Created}); err != nil {
			return err
		}
		_, err := io.Copy(out, content)
		return err
	})
	if err != nil {
		return err
	}
	return out.Close()
}

// WriteDirectory writes a layout into a new directory.
func WriteDirectory(ctx context.Context, name string, c Content) error {
	if err := os.Mkdir(name, 0o755); err != nil {
		return err
	}
	err := os.MkdirAll(filepath.Join(name, "blobs", "sha256"), 0o755)
	if err == nil {
		err = write(ctx, c, func(file string, _ int64, content io.Reader) error {
			out, err := os.OpenFile(filepath.Join(name, file), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if err != nil {
				return err
			}
			_, err = io.Copy(out, content)
			return errors.Join(err, out.Close())
		})
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(name))
	}
	return nil
}

func write(ctx context.Context, c Content, put sink) error {
	layer, content, err := spoolLayer(ctx, c, put)
	if err != nil {
		return err
	}
	var settings config
	settings.Created = c.Created.UTC().Format(time.RFC3339Nano)
	settings.Architecture, settings.OS = c.Architecture, "linux"
	settings.Config.Labels = c.Labels
	if c.Settings != nil {
		settings.Config.Settings = *c.Settings
	}
	settings.RootFS.Type, settings.RootFS.DiffIDs = "layers", []string{content}
	described, err := putDocument(put, "application/vnd.oci.image.config.v1+json", settings)
	if err != nil {
		return err
	}
	top, err := putDocument(put, "application/vnd.oci.image.manifest.v1+json", manifest{SchemaVersion: 2,
		MediaType: "application/vnd.oci.image.manifest.v1+json", Config: described, Layers: []descriptor{layer}})
	if err != nil {
		return err
	}
	top.Annotations = map[string]string{refName: c.Reference}
	top.Platform = &platform{Architecture: c.Architecture, OS: "linux"}
	list, err := json.Marshal(index{SchemaVersion: 2, MediaType: mediaIndex, Manifests: []descriptor{top}})
	if err != nil {
		return err
	}
	version := []byte(`{"imageLayoutVersion":"1.0.0"}`)
	return errors.Join(put(indexFile, int64(len(list)), bytes.NewReader(list)), put(layoutFile, int64(len(version)), bytes.NewReader(version)))
}

// spoolLayer writes the layer to a file without a name first, since its name in the
// layout is its digest.
func spoolLayer(ctx context.Context, c Content, put sink) (d descriptor, content string, err error) {
	file, err := archive.Spool(c.Spool, bytes.NewReader(nil))
	if err != nil {
		return d, "", err
	}
	defer file.Close()
	stored, plain := sha256.New(), sha256.New()
	compressed, err := archive.Compress(ctx, c.Here, c.Compression, io.MultiWriter(file, stored))
	if err != nil {
		return d, "", err
	}
	err = archive.Write(ctx, io.MultiWriter(compressed, plain), c.Top, c.Progress)
	if err = errors.Join(err, compressed.Close()); err != nil {
		return d, "", fmt.Errorf("layer: %w", err)
	}
	d.MediaType = mediaLayer
	if c.Compression != "none" {
		d.MediaType += "+" + c.Compression
	}
	d.Digest = "sha256:" + hex.EncodeToString(stored.Sum(nil))
	if d.Size, err = file.Seek(0, io.SeekEnd); err != nil {
		return d, "", err
	}
	name, err := blobName(d.Digest)
	if err != nil {
		return d, "", err
	}
	return d, "sha256:" + hex.EncodeToString(plain.Sum(nil)), put(name, d.Size, io.NewSectionReader(file, 0, d.Size))
}

func putDocument(put sink, media string, document any) (descriptor, error) {
	data, err := json.Marshal(document)
	if err != nil {
		return descriptor{}, err
	}
	sum := sha256.Sum256(data)
	d := descriptor{MediaType: media, Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: int64(len(data))}
	name, err := blobName(d.Digest)
	if err != nil {
		return d, err
	}
	return d, put(name, d.Size, bytes.NewReader(data))
}
