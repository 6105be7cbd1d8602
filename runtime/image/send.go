package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"mayfly/btrfs"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/internal/exact"
)

// A shipment is the first line of Send's output. The stream of btrfs-send(8) follows.
type shipment struct {
	Format string `json:"mayfly-image"` // "1"
	Name   string `json:"name"`
	Record Record `json:"record"`
	Base   string `json:"base,omitempty"` // digest of the version to which the stream's changes apply
}

const (
	shipmentFormat = "1"
	maxShipment    = 8 << 20
)

var errNeedsBTRFS = errors.New("the store is not on BTRFS, which send and receive take: use export and import")

// Send writes a version, or its changes since the version parent if that is not 0.
func (s *Store) Send(ctx context.Context, text string, parent int, w *os.File) error {
	if !s.BTRFS {
		return errNeedsBTRFS
	}
	img, err := s.Image(text)
	if err != nil {
		return err
	}
	defer img.Close()
	record, err := s.Record(img.Reference)
	if err != nil {
		return fmt.Errorf("send image %s: %w", img, err)
	}
	head := shipment{Format: shipmentFormat, Name: img.Name, Record: record}
	args := []string{"send", "--quiet"}
	if parent != 0 {
		base, err := s.Image(ref.Reference{Name: img.Name, Version: parent}.String())
		if err != nil {
			return err
		}
		defer base.Close()
		was, err := s.Record(base.Reference)
		if err != nil {
			return err
		}
		head.Base = was.Digest
		args = append(args, "-p", base.Path)
	}
	line, err := exact.Marshal(head)
	if err != nil {
		return err
	}
	if _, err := w.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("send image %s: %w", img, err)
	}
	if err := sendStream(ctx, append(args, img.Path), w); err != nil {
		return fmt.Errorf("send image %s: %w", img, err)
	}
	return nil
}

// sendStream runs btrfs(8), whose last argument is a subvolume, and copies its output
// to w.
func sendStream(ctx context.Context, args []string, w io.Writer) error {
	var top unix.Stat_t
	if err := unix.Stat(args[len(args)-1], &top); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, "btrfs", args...)
	var text bytes.Buffer
	cmd.Stderr = &text
	stream, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	copied := btrfs.CopyStream(w, stream, top)
	if copied != nil {
		cancel()
	}
	failed := cmd.Wait()
	switch {
	case text.Len() > 0 && failed != nil:
		return fmt.Errorf("btrfs: %w: %s", failed, bytes.TrimSpace(text.Bytes()))
	case copied != nil:
		return copied
	}
	return failed
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

// Receive reads the output of Send from another machine, and makes an image or an
// image's next version from it. The content must match the digest that was sent. name
// is the image's name here; "": the name that was sent.
func (s *Store) Receive(ctx context.Context, name string, r *os.File, progress func(int64)) (string, Record, error) {
	if !s.BTRFS {
		return name, Record{}, errNeedsBTRFS
	}
	head, err := readShipment(r)
	if err != nil {
		return name, Record{}, fmt.Errorf("receive: %w", err)
	}
	if name == "" {
		name = head.Name
	}
	record, err := s.receive(ctx, name, head, r, progress)
	if err != nil {
		err = fmt.Errorf("receive image %s: %w", name, err)
	}
	return name, record, err
}

func (s *Store) receive(ctx context.Context, name string, head shipment, r *os.File, progress func(int64)) (Record, error) {
	if err := ref.CheckName("image", name); err != nil {
		return Record{}, err
	}
	config, err := head.Record.Config.Checked()
	if err != nil {
		return Record{}, err
	}
	how := Sealing{Name: name, Next: true, Origin: head.Record.Origin, Labels: head.Record.Labels, Recipe: head.Record.Recipe,
		Config: config, Want: head.Record.Digest, Keep: true, Progress: progress}
	history, err := s.History(name)
	if errors.Is(err, ErrUnknown) {
		how.Next, err = false, nil
	}
	if err != nil {
		return Record{}, err
	}
	if err := fits(name, history, head); err != nil {
		return Record{}, err
	}
	d, err := s.NewDraft(ctx, nil, nil)
	if err != nil {
		return Record{}, err
	}
	record, err := d.receive(ctx, head, how, r)
	return record, errors.Join(err, d.Discard())
}

// fits returns an error unless the image here has the version on which the stream
// builds, and lacks the version that it brings.
func fits(name string, history []Entry, head shipment) error {
	base := head.Base == ""
	for _, v := range history {
		if v.Digest == head.Record.Digest {
			return fmt.Errorf("it is here already, as %s@%d", name, v.Version)
		}
		base = base || v.Digest == head.Base
	}
	if !base {
		return fmt.Errorf("the version that it builds on, %s, is not here: send that first, or without --parent", head.Base)
	}
	return nil
}

// receive runs btrfs(8), confined to the draft, which makes a subvolume in it. That
// subvolume is sealed instead of the draft.
func (d *Draft) receive(ctx context.Context, head shipment, how Sealing, r *os.File) (Record, error) {
	args := []string{"receive", "--quiet", "--max-errors", "1"}
	if head.Base == "" {
		args = append(args, "--chroot") // what it builds on would not be in there
	}
	cmd := exec.CommandContext(ctx, "btrfs", append(args, d.Path)...)
	cmd.Stdin = r
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
	if err := exact.Unmarshal(line, &head); err != nil || head.Format != shipmentFormat {
		return head, fmt.Errorf("not what `runtime image send` writes, format %s", strconv.Quote(shipmentFormat))
	}
	return head, errors.Join(ref.CheckName("image", head.Name))
}
