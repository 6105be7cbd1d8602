package image

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"

	"golang.org/x/sys/unix"

	"mayfly/btrfs"
	"mayfly/runtime/image/archive"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/internal/exact"
)

// A Sending says how a version is sent.
type Sending struct {
	Parent   int         // send only the changes since this version of the image; 0: everything
	Archive  bool        // for a store of any kind; without BTRFS it is always an archive
	Progress func(int64) // of an archive: bytes of content since the last time; may be nil
}

// Send writes a version, or its changes since another one, for Receive.
func (s *Store) Send(ctx context.Context, text string, how Sending, w io.Writer) error {
	img, err := s.Image(text)
	if err != nil {
		return err
	}
	defer img.Close()
	if err = s.send(ctx, img, how, w); err != nil {
		return fmt.Errorf("send image %s: %w", img, err)
	}
	return nil
}

func (s *Store) send(ctx context.Context, img *Image, how Sending, w io.Writer) error {
	record, err := s.Record(img.Reference)
	if err != nil {
		return err
	}
	head := shipment{Format: nativeFormat, Name: img.Name, Record: record}
	var base *Image
	if how.Parent != 0 {
		if base, err = s.Image(ref.Reference{Name: img.Name, Version: how.Parent}.String()); err != nil {
			return err
		}
		defer base.Close()
		was, err := s.Record(base.Reference)
		if err != nil {
			return err
		}
		head.Base = was.Digest
	}
	native := s.BTRFS && !how.Archive
	if !native {
		head.Format = archiveFormat
	}
	line, err := exact.Marshal(head)
	if err != nil {
		return err
	}
	if _, err := w.Write(append(line, '\n')); err != nil {
		return err
	}
	switch {
	case native && base != nil:
		return sendStream(ctx, []string{"send", "--quiet", "-p", base.Path, img.Path}, w)
	case native:
		return sendStream(ctx, []string{"send", "--quiet", img.Path}, w)
	case base != nil:
		return archive.WriteChanges(ctx, w, base.fd, img.fd, how.Progress)
	}
	return archive.Write(ctx, w, img.fd, how.Progress)
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

// StreamID returns what names a version in streams of btrfs-send(8): one that changes it
// can be received where a version has the same. "": the store is not on BTRFS.
func (s *Store) StreamID(of ref.Reference) (string, error) {
	if !s.BTRFS {
		return "", nil
	}
	img, err := s.Image(of.String())
	if err != nil {
		return "", err
	}
	defer img.Close()
	info, err := btrfs.Describe(img.fd)
	if err != nil {
		return "", fmt.Errorf("image %s: %w", img, err)
	}
	if info.ReceivedUUID != [16]byte{} {
		return fmt.Sprintf("%x", info.ReceivedUUID), nil
	}
	return fmt.Sprintf("%x", info.UUID), nil
}
