package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"mayfly/personality/arch"
	"mayfly/runtime/here"
	"mayfly/runtime/image"
	"mayfly/runtime/image/archive"
	"mayfly/runtime/image/oci"
)

// A Target says in which format, and to which file, an image is exported.
type Target struct {
	Format      string // tar or oci
	Compression string // gzip, xz, zstd, bzip2 or none
	Name        string // of a file; "-": standard output. For oci a name that ends in a slash is a directory.
}

// Export writes an image. A file gets its name when it is complete.
func Export(ctx context.Context, s *image.Store, img *image.Image, to Target, progress func(int64)) error {
	err := export(ctx, s, img, to, progress)
	if err != nil {
		return fmt.Errorf("export image %s: %w", img, err)
	}
	return nil
}

func export(ctx context.Context, s *image.Store, img *image.Image, to Target, progress func(int64)) error {
	switch to.Format {
	case "tar":
		return toFile(s.Here, to.Name, func(w io.Writer) error {
			compressed, err := archive.Compress(ctx, s.Here, to.Compression, w)
			if err != nil {
				return err
			}
			return errors.Join(archive.Write(ctx, compressed, img.FD(), progress), compressed.Close())
		})
	case "oci":
		content, err := describe(s, img, to)
		if err != nil {
			return err
		}
		content.Progress = progress
		if os.IsPathSeparator(to.Name[len(to.Name)-1]) {
			if err := oci.WriteDirectory(ctx, filepath.Clean(to.Name), content); err != nil {
				return err
			}
			return filepath.WalkDir(filepath.Clean(to.Name), func(name string, _ fs.DirEntry, err error) error {
				return errors.Join(err, s.Here.GiveToCaller(name))
			})
		}
		return toFile(s.Here, to.Name, func(w io.Writer) error { return oci.WriteTar(ctx, w, content) })
	}
	return fmt.Errorf("format %q: want tar or oci", to.Format)
}

func describe(s *image.Store, img *image.Image, to Target) (oci.Content, error) {
	switch to.Compression {
	case "gzip", "zstd", "none":
	default:
		return oci.Content{}, fmt.Errorf("compression %q of an OCI layer: want gzip, zstd or none", to.Compression)
	}
	c := oci.Content{Here: s.Here, Reference: img.Name, Compression: to.Compression, Top: img.FD(), Spool: s.Spool()}
	if img.Sealed() {
		record, err := s.Record(img.Reference)
		if err != nil {
			return c, err
		}
		c.Labels, c.Settings, c.Created = record.Labels, record.Config, record.Created
	}
	machine, err := img.Architecture()
	if err != nil {
		machine, err = arch.ByName(image.HostArch())
	}
	c.Architecture = machine.Go
	return c, err
}

func toFile(h here.Here, name string, write func(io.Writer) error) error {
	if name == "-" {
		return write(os.Stdout)
	}
	file, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	err = errors.Join(write(file), file.Chmod(0o644), file.Close(), h.GiveToCaller(file.Name()))
	if err == nil {
		err = os.Rename(file.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}
