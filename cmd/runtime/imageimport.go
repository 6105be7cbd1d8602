package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	flag "github.com/spf13/pflag"

	"mayfly/runtime/image"
	"mayfly/runtime/image/archive"
	"mayfly/runtime/image/exchange"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/imageadmin"
)

// Limits of an archive: entries, and bytes unless --max-size is given.
const (
	maxEntries = 10_000_000
	maxContent = "64G"
)

var imageImport = command{
	name:     "import",
	synopsis: "[flags] NAME SOURCE",
	summary:  "create an image from a directory, tar archive, squashfs, OCI layout, docker save archive or disk image (.raw)",
	examples: []string{
		"runtime image import deb12 rootfs.tar.xz",
		"debootstrap-somewhere | ssh host runtime image import deb12 -",
		"runtime image import --ref bookworm --arch amd64 deb12 ./oci-layout",
		"runtime image import deb12 mkosi.raw",
		"runtime image import --next deb12-i386 /srv/chroots/deb12-i386",
	},
	setUp: func(flags *flag.FlagSet) action {
		var source exchange.Source
		flags.StringVar(&source.Reference, "ref", "", "`NAME` or digest of the image, if SOURCE holds several")
		flags.StringVar(&source.Arch, "arch", "", "`ARCH` of the image, if SOURCE holds several")
		limit := flags.String("max-size", maxContent, "limit the content of SOURCE to `SIZE`")
		next := flags.Bool("next", false, "add a version to an existing image")
		asJSON := jsonFlag(flags)
		return inStore(flags, 2, []string{"NAME", "SOURCE"}, func(ctx context.Context, s *image.Store, args []string) error {
			limits, err := contentLimits(*limit)
			if err != nil {
				return err
			}
			source.Name = args[1]
			if source.Name == "-" && isTerminal() {
				return errors.New("standard input is a terminal: want an archive there")
			}
			how := image.Sealing{Name: args[0], Next: *next}
			record, err := importImage(ctx, s, source, limits, how)
			if err != nil {
				return err
			}
			return printVersion(*asJSON, args[0], record)
		})
	},
}

// contentLimits returns the limits of an archive with so much content.
func contentLimits(size string) (archive.Limits, error) {
	bytes, err := image.ParseSize(size)
	return archive.Limits{Bytes: bytes, Entries: maxEntries}, err
}

func importImage(ctx context.Context, s *image.Store, from exchange.Source, limits archive.Limits, how image.Sealing) (image.Record, error) {
	if err := s.CheckFree(how.Name, how.Next); err != nil {
		return image.Record{}, err
	}
	draft, err := s.NewDraft(ctx, nil, nil)
	if err != nil {
		return image.Record{}, err
	}
	p := begin("import "+how.Name, "unpack", from.Size())
	defer p.stop()
	result, err := exchange.Import(ctx, from, exchange.Where{Here: s.Here, Top: draft.FD(), Spool: s.Spool(), Limits: limits, Progress: p.add})
	var record image.Record
	if err == nil {
		if result.Dropped > 0 {
			fmt.Fprintf(os.Stderr, "runtime: %d extended attributes were left out: an image keeps file capabilities, ACLs and user.*\n", result.Dropped)
		}
		if unused := result.Config.Unused(); unused != "" {
			warn("kept without effect: " + unused + "; a run has the caller's ids and directory, and the command that it is called with")
		}
		how.Origin, how.Labels, how.Config, how.Known, how.Progress = result.Origin, result.Labels, result.Config, result.Sums, p.add
		p.next("seal", 0)
		record, err = draft.Seal(ctx, how)
	}
	if hidden, _ := imageadmin.Hidden(s.Here, s, how.Name); err == nil && len(hidden) > 0 {
		warn("the policy's binds hide what the image has in " + strings.Join(hidden, ", ") + ": `runtime run --no-bind DIR` leaves one out")
	}
	return record, errors.Join(err, draft.Discard())
}

var imageExport = command{
	name:     "export",
	synopsis: "[flags] NAME[@VERSION] FILE",
	summary:  "write an image as a tar archive or OCI layout; FILE - is standard output, DIR/ an OCI layout directory",
	examples: []string{
		"runtime image export deb12-i386 deb12-i386.tar.zst",
		"runtime image export --format oci deb12-i386 deb12-i386.oci.tar",
		"runtime image export deb12-i386 - | ssh host runtime image import deb12-i386 -",
	},
	setUp: func(flags *flag.FlagSet) action {
		var to exchange.Target
		flags.StringVar(&to.Format, "format", "tar", "`FORMAT`: tar or oci")
		flags.StringVar(&to.Compression, "compress", "", "`HOW`: gzip, xz, zstd, bzip2 or none (default: by the suffix of FILE; gzip for OCI layers)")
		return inStore(flags, 2, []string{"NAME", "FILE"}, func(ctx context.Context, s *image.Store, args []string) error {
			to.Name = args[1]
			if to.Compression == "" {
				to.Compression = compressionFor(to)
			}
			if to.Name == "-" && isTerminalOut() {
				return errors.New("standard output is a terminal: give a file's name, or a pipe")
			}
			img, err := s.Image(args[0])
			if err != nil {
				return err
			}
			defer img.Close()
			p := begin("export "+args[0], "write", contentOf(s, args[0]))
			defer p.stop()
			return exchange.Export(ctx, s, img, to, p.add)
		})
	},
}

// contentOf returns the size of an image's content in bytes, for a progress; 0 if it is
// unknown.
func contentOf(s *image.Store, name string) int64 {
	ref, err := ref.Parse(name)
	if err != nil {
		return 0
	}
	record, _ := s.Record(ref)
	return record.Bytes
}

// compressionFor returns the compression that a file's suffix names.
func compressionFor(to exchange.Target) string {
	if to.Format == "oci" {
		return "gzip"
	}
	for suffix, how := range map[string]string{".gz": "gzip", ".tgz": "gzip", ".xz": "xz", ".zst": "zstd", ".bz2": "bzip2"} {
		if strings.HasSuffix(to.Name, suffix) {
			return how
		}
	}
	return "none"
}
