package image

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/btrfs"
	"mayfly/runtime/image/archive"
	"mayfly/runtime/image/oci"
	"mayfly/runtime/image/ref"
)

// A Draft is a root file system that is being made. Until it is sealed it is in the run
// directory, where this process holds it. However this process ends, a collector
// removes the draft. The holder of a Draft must Discard it, sealed or not.
type Draft struct {
	Name   string // for OpenDraft
	Path   string
	Parent string            // digest of the version that it began as, if any
	Labels map[string]string // of that version
	Config *oci.Settings     // of that version
	store  *Store
	dir    int   // the run directory
	fd     int   // the root directory
	hold   *hold // nil: the draft is inside another one, which is held
}

// In the run directory, only names that are not a container's start with a dot.
const draftPrefix = ".new-"

// NewDraft makes an empty draft, or a draft with the content of an image: a snapshot on
// BTRFS, elsewhere a copy, made file by file.
func (s *Store) NewDraft(ctx context.Context, from *Image, progress func(int64)) (*Draft, error) {
	dir, err := s.runDir()
	if err != nil {
		return nil, err
	}
	d := &Draft{store: s, dir: dir, fd: -1}
	if d.Name, err = randomName(draftPrefix); err == nil {
		d.Path = filepath.Join(s.Path, ref.RunDirectory, d.Name)
		d.hold, err = holdEntry(dir, d.Name)
	}
	if err != nil {
		unix.Close(dir)
		return nil, fmt.Errorf("draft of an image: %w", err)
	}
	if err = s.makeDraft(dir, d.Name, from); err == nil {
		d.fd, err = openHere(dir, d.Name)
	}
	if err == nil {
		err = d.begin(ctx, from, progress)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("draft of an image: %w", err), d.Discard())
	}
	return d, nil
}

func (s *Store) makeDraft(dir int, name string, from *Image) error {
	switch {
	case !s.BTRFS:
		return unix.Mkdirat(dir, name, 0o755)
	case from != nil:
		return btrfs.Snapshot(dir, name, from.fd, false)
	}
	return btrfs.Create(dir, name)
}

func (d *Draft) begin(ctx context.Context, from *Image, progress func(int64)) error {
	if from == nil {
		return unix.Fchmod(d.fd, 0o755)
	}
	if from.Sealed() {
		record, err := d.store.Record(from.Reference)
		if err != nil {
			return err
		}
		d.Parent, d.Labels, d.Config = record.Digest, record.Labels, record.Config
	}
	if d.store.BTRFS {
		return nil
	}
	return d.copy(ctx, from.fd, false, progress)
}

// copy copies a tree into the draft, file by file. powerless: see archive.Extractor.
func (d *Draft) copy(ctx context.Context, from int, powerless bool, progress func(int64)) error {
	x, err := archive.NewExtractor(d.store.Here, d.fd, d.store.Spool(), &archive.Limits{Bytes: math.MaxInt64, Entries: math.MaxInt64}, progress)
	if err != nil {
		return err
	}
	defer x.Close()
	x.Powerless = x.Powerless || powerless
	if err := x.ExtractTree(ctx, from); err != nil {
		return err
	}
	return x.Finish(ctx)
}

// FD returns the descriptor of the draft's root directory, owned by the Draft.
func (d *Draft) FD() int { return d.fd }

// Discard removes the draft unless it has been sealed, and releases its hold.
func (d *Draft) Discard() error {
	err := removeTree(d.dir, d.Name)
	if err == nil {
		err = d.store.Reclaim()
	}
	if errors.Is(err, unix.ENOENT) {
		err = nil
	}
	if d.fd >= 0 {
		unix.Close(d.fd)
	}
	if err == nil {
		err = d.hold.release()
	}
	unix.Close(d.dir)
	if err != nil {
		return fmt.Errorf("remove draft %s: %w", d.Path, err)
	}
	return nil
}

// OpenDraft opens another process's draft as an image, for a container that changes it.
// The draft exists while the process that made it lives.
func (s *Store) OpenDraft(name string) (*Image, error) {
	if err := ref.CheckName("draft", strings.TrimPrefix(name, ".")); err != nil {
		return nil, err
	}
	fd, err := openHere(s.fd, filepath.Join(ref.RunDirectory, name))
	if err != nil {
		return nil, fmt.Errorf("open draft %s: %w", name, err)
	}
	return &Image{Reference: ref.Reference{Name: name}, Path: filepath.Join(s.Path, ref.RunDirectory, name), Private: true, fd: fd, record: -1}, nil
}

// Reclaim frees the space of removed subvolumes soon: a commit of BTRFS wakes the
// kernel's cleaner, which otherwise runs every half a minute.
func (s *Store) Reclaim() error { return s.sync() }

// sync writes the changes of the store to disk.
func (s *Store) sync() error {
	if s.BTRFS {
		return btrfs.Sync(s.fd)
	}
	return unix.Syncfs(s.fd)
}

func randomName(prefix string) (string, error) {
	var random [8]byte
	if _, err := unix.Getrandom(random[:], 0); err != nil {
		return "", fmt.Errorf("random number: %w", err)
	}
	return prefix + hex.EncodeToString(random[:]), nil
}
