package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/btrfs"
	"mayfly/runtime/image/oci"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/image/tree"
)

// A Sealing says how a draft becomes a version.
type Sealing struct {
	Name     string
	Next     bool // add a version to an existing image; else no image may have the name
	Number   int  // the version's number, 0: the next one
	Stay     bool // the version that is current stays so, if the image has one
	Origin   string
	Labels   map[string]string // added to the draft's labels, or replacing them
	Config   *oci.Settings     // nil: the draft's
	Recipe   string
	Want     string              // digest that the content must have, "": any
	Known    map[uint64]tree.Sum // sums of contents that need not be read again, by inode
	Keep     bool                // do not make missing mount points
	Progress func(int64)
}

// Seal makes a version from the draft and makes it current, in one step: if it is
// killed, the image is in the old state or the new one. A version with a given Number
// that is not the highest does not become current. The draft cannot be changed any
// more. The caller must still Discard it.
func (d *Draft) Seal(ctx context.Context, how Sealing) (Record, error) {
	record, err := d.seal(ctx, how)
	if err != nil {
		return record, fmt.Errorf("seal image %s: %w", how.Name, err)
	}
	return record, nil
}

func (d *Draft) seal(ctx context.Context, how Sealing) (Record, error) {
	record := Record{Version: max(how.Number, 1), Created: time.Now().UTC().Truncate(time.Second), Origin: how.Origin, Parent: d.Parent,
		Labels: inherit(d.Labels, how.Labels), Config: cmp.Or(how.Config, d.Config), Recipe: how.Recipe}
	if err := d.store.CheckFree(how.Name, how.Next); err != nil {
		return record, err
	}
	if !how.Keep {
		if err := makeMountPoints(d.fd); err != nil {
			return record, err
		}
	}
	// Write the files to disk while the digest is computed.
	written := make(chan error, 1)
	go func() { written <- unix.Syncfs(d.fd) }()
	if arch, err := architecture(d.fd); err == nil {
		record.Arch = arch.Debian
	}
	summary, err := tree.Digest(ctx, d.fd, how.Known, how.Progress)
	if err = errors.Join(err, <-written); err != nil {
		return record, err
	}
	if how.Want != "" && how.Want != summary.Digest {
		return record, fmt.Errorf("the content has the digest %s, want %s: it was damaged on its way", summary.Digest, how.Want)
	}
	record.Digest, record.Files, record.Bytes, record.FIFOs = summary.Digest, summary.Files, summary.Bytes, summary.FIFOs
	if how.Next {
		return d.publishNext(how, record)
	}
	return record, d.publishNew(how.Name, record)
}

// CheckFree returns an error if an image of that name, or its next version, cannot be
// made.
func (s *Store) CheckFree(name string, next bool) error {
	if err := ref.CheckName("image", name); err != nil {
		return err
	}
	dir, plain, err := s.openImage(name)
	if err == nil {
		unix.Close(dir)
	}
	switch {
	case next && err == nil && plain:
		return fmt.Errorf("image %s: %w", name, ErrPlain)
	case next:
		return err
	case errors.Is(err, ErrUnknown):
		return nil
	}
	return fmt.Errorf("image %s %w in %s: `runtime image remove %s` removes it, --next makes the next version of it", name, ErrExists, s.Path, name)
}

// imagePrefix starts the names of incomplete images in the run directory.
const imagePrefix = ".image-"

// publishNew makes the image's directory in the run directory, and moves it to its
// place when it is complete.
func (d *Draft) publishNew(name string, r Record) error {
	draft, err := randomName(imagePrefix)
	if err != nil {
		return err
	}
	held, fd, err := makeHeld(d.dir, draft)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err = d.publish(fd, r, true); err == nil {
		err = unix.Renameat2(d.dir, draft, d.store.fd, name, unix.RENAME_NOREPLACE)
	}
	if err != nil {
		if errors.Is(err, unix.EEXIST) {
			err = ErrExists
		}
		return errors.Join(err, removeImageDirectory(d.dir, draft, fd), held.release())
	}
	return errors.Join(held.release(), d.store.sync())
}

func (d *Draft) publishNext(how Sealing, r Record) (Record, error) {
	dir, err := d.store.changeImage(how.Name)
	if err != nil {
		return r, err
	}
	defer unix.Close(dir)
	last, err := highest(dir)
	if err != nil {
		return r, err
	}
	if r.Version = how.Number; r.Version == 0 {
		r.Version = last + 1
	}
	if _, ok := ref.ParseVersion(strconv.Itoa(r.Version)); !ok {
		return r, fmt.Errorf("no version can have the number %d: `runtime image clone` makes an image with numbers of its own", r.Version)
	}
	whole, err := versions(dir)
	if err != nil {
		return r, err
	}
	if slices.Contains(whole, r.Version) {
		return r, sameAs(dir, r)
	}
	if err := removeVersion(dir, r.Version); err != nil { // what an interrupted change has left
		return r, err
	}
	isLast := len(whole) == 0 || r.Version > whole[len(whole)-1]
	if err := d.publish(dir, r, isLast && !how.Stay); err != nil {
		return r, errors.Join(err, removeVersion(dir, r.Version))
	}
	return r, d.store.sync()
}

// sameAs returns an error unless the image has this version already: another process
// may just have brought it.
func sameAs(dir int, r Record) error {
	has, _, err := readRecord(dir, r.Version)
	if err == nil && has.Digest != r.Digest {
		err = fmt.Errorf("version %d %w, with another content", r.Version, ErrExists)
	}
	return err
}

// publish moves the draft into the image's directory, adds the record, and makes the
// new version current if it is to be.
func (d *Draft) publish(dir int, r Record, toCurrent bool) error {
	number := strconv.Itoa(r.Version)
	if err := d.move(dir, number); err != nil {
		return fmt.Errorf("name version %s: %w", number, err)
	}
	if err := writeRecord(dir, r); err != nil || !toCurrent {
		return err
	}
	return setCurrent(dir, r.Version)
}

// move moves the root file system, and on BTRFS makes it read-only. A read-only
// subvolume, as a received one is, cannot be moved: move makes a snapshot of it.
func (d *Draft) move(dir int, number string) error {
	if !d.store.BTRFS {
		return unix.Renameat2(d.dir, d.Name, dir, number, unix.RENAME_NOREPLACE)
	}
	sealed, err := btrfs.ReadOnly(d.fd)
	if err != nil {
		return err
	}
	if sealed {
		return btrfs.Snapshot(dir, number, d.fd, true)
	}
	if err := unix.Renameat2(d.dir, d.Name, dir, number, unix.RENAME_NOREPLACE); err != nil {
		return err
	}
	return btrfs.SetReadOnly(d.fd, true)
}
