package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"mayfly/btrfs"
	"mayfly/runtime/image/archive"
	"mayfly/runtime/image/ref"
)

// A Receiving says what becomes of a version that is received.
type Receiving struct {
	Name     string // of the image here; "": the name that was sent
	Next     bool   // give the version the next number here, not the sender's
	Stay     bool   // see Sealing
	Expected *Shipped
	Limits   archive.Limits // of what is not a stream of btrfs-send(8)
	Progress func(int64)
}

// A Shipped is what a stream has to hold, if it is known: the record is taken from here,
// and the rest must be the same.
type Shipped struct {
	Record  Record
	Archive bool   // a stream of btrfs-send(8) is not taken: it can change files elsewhere
	Base    string // digest of the version on which the content builds; "": none
}

// Receive reads the output of Send from another machine, and makes an image or a version
// of it, with the number that it has there. It becomes the current version if it has the
// highest number. The content must match the digest that was sent, or that is Expected.
//
// r can be compressed. If it is an *os.File, nothing is read beyond what was sent.
func (s *Store) Receive(ctx context.Context, r io.Reader, how Receiving) (string, Record, error) {
	head, content, err := s.open(ctx, r)
	if err != nil {
		return how.Name, Record{}, fmt.Errorf("receive: %w", errors.Join(err, content.Close()))
	}
	defer content.Close()
	if how.Name == "" {
		how.Name = head.Name
	}
	if e := how.Expected; e != nil {
		if e.Archive != (head.Format == archiveFormat) || e.Base != head.Base {
			return how.Name, Record{}, fmt.Errorf("receive image %s: the stream is not the one that was asked for", how.Name)
		}
		head.Record = e.Record
	}
	record, err := s.receive(ctx, head, content, how)
	if err != nil {
		err = fmt.Errorf("receive image %s: %w", how.Name, err)
	}
	return how.Name, record, err
}

func (s *Store) receive(ctx context.Context, head shipment, content io.Reader, how Receiving) (Record, error) {
	if err := ref.CheckName("image", how.Name); err != nil {
		return Record{}, err
	}
	if head.Format == nativeFormat && !s.BTRFS {
		return Record{}, errors.New("it is a stream of btrfs-send(8), and the store is not on BTRFS: `runtime image send --archive` sends what any store takes")
	}
	config, err := head.Record.Config.Checked()
	if err != nil {
		return Record{}, err
	}
	seal := Sealing{Name: how.Name, Next: true, Stay: how.Stay, Origin: head.Record.Origin, Labels: head.Record.Labels, Recipe: head.Record.Recipe,
		Config: config, Want: head.Record.Digest, Keep: true, Progress: how.Progress}
	if !how.Next {
		seal.Number = head.Record.Version
	}
	history, err := s.History(how.Name)
	if errors.Is(err, ErrUnknown) {
		seal.Next, err = false, nil
	}
	if err != nil {
		return Record{}, err
	}
	base, err := fits(how.Name, seal.Number, history, head)
	if err != nil {
		return Record{}, err
	}
	if head.Format == archiveFormat {
		return s.receiveArchive(ctx, head, content, base, how, seal)
	}
	d, err := s.NewDraft(ctx, nil, nil)
	if err != nil {
		return Record{}, err
	}
	record, err := d.receive(ctx, head, seal, content)
	return record, errors.Join(err, d.Discard())
}

// fits returns an error unless the image here has the version on which the content
// builds, and lacks the version that it brings. It returns the number of the former; 0:
// there is none. number is that of the latter; 0: the next one.
func fits(name string, number int, history []Entry, head shipment) (base int, err error) {
	for _, v := range history {
		if v.Digest == head.Record.Digest {
			return 0, fmt.Errorf("it is here already, as %s@%d", name, v.Version)
		}
		if v.Version == number {
			return 0, fmt.Errorf("%s@%d is here, and is another: --next gives it the next number here, --name makes another image of it", name, number)
		}
		if v.Digest == head.Base {
			base = v.Version
		}
	}
	if head.Base != "" && base == 0 {
		return 0, fmt.Errorf("the version that it builds on, %s, is not here: send that first, or without --parent", head.Base)
	}
	return base, nil
}

// receiveArchive extracts an archive, or a layer onto a copy of the version base.
func (s *Store) receiveArchive(ctx context.Context, head shipment, content io.Reader, base int, how Receiving, seal Sealing) (_ Record, err error) {
	var from *Image
	if base != 0 {
		if from, err = s.Image(ref.Reference{Name: how.Name, Version: base}.String()); err != nil {
			return Record{}, err
		}
		defer from.Close()
	}
	d, err := s.NewDraft(ctx, from, nil)
	if err != nil {
		return Record{}, err
	}
	defer func() { err = errors.Join(err, d.Discard()) }()
	x, err := archive.NewExtractor(s.Here, d.fd, s.Spool(), &how.Limits, how.Progress)
	if err != nil {
		return Record{}, err
	}
	defer x.Close()
	if from != nil {
		err = x.ExtractLayer(ctx, content)
	} else {
		err = x.Extract(ctx, content)
	}
	if err == nil {
		err = x.Finish(ctx)
	}
	if err != nil {
		return Record{}, err
	}
	d.Parent, d.Labels, d.Config = head.Record.Parent, nil, nil
	seal.Known = x.Sums()
	return d.Seal(ctx, seal)
}

// receive runs btrfs(8), confined to the draft, which makes a subvolume in it. That
// subvolume is sealed instead of the draft.
func (d *Draft) receive(ctx context.Context, head shipment, how Sealing, content io.Reader) (Record, error) {
	args := []string{"receive", "--quiet", "--max-errors", "1"}
	if head.Base == "" {
		args = append(args, "--chroot") // what it builds on would not be in there
	}
	cmd := exec.CommandContext(ctx, "btrfs", append(args, d.Path)...)
	cmd.Stdin = content
	if plain, is := content.(notClosed); is {
		cmd.Stdin = plain.Reader // perhaps a file, which the program reads itself
	}
	if err := said(cmd, "receive"); err != nil {
		return Record{}, err
	}
	list, err := entries(d.fd, ".")
	if err != nil {
		return Record{}, err
	}
	if len(list) != 1 || !list[0].IsDir() {
		return Record{}, fmt.Errorf("the stream holds %d things, want one version", len(list))
	}
	fd, err := openHere(d.fd, list[0].Name())
	if err != nil {
		return Record{}, err
	}
	defer unix.Close(fd)
	if ro, err := btrfs.ReadOnly(fd); err != nil || !ro {
		return Record{}, errors.Join(errors.New("the stream was cut off"), err)
	}
	within := &Draft{Name: list[0].Name(), Path: filepath.Join(d.Path, list[0].Name()), Parent: head.Record.Parent, store: d.store, dir: d.dir, fd: fd}
	return within.Seal(ctx, how)
}

// said runs a program. If it fails, the error contains its output.
func said(cmd *exec.Cmd, what string) error {
	var text bytes.Buffer
	cmd.Stderr = &text
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %s: %w: %s", what, filepath.Base(cmd.Path), err, bytes.TrimSpace(text.Bytes()))
	}
	return nil
}
