package image

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/btrfs"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/internal/lock"
)

// A Description is an image's entry in a list.
type Description struct {
	Name     string    `json:"name"`
	Kind     string    `json:"kind"`              // versions or plain
	Version  int       `json:"version,omitempty"` // the described version; in a list the current one
	Versions int       `json:"versions,omitempty"`
	Path     string    `json:"path"`               // of the root file system
	Arch     string    `json:"arch,omitempty"`     // Debian's name
	Emulator string    `json:"emulator,omitempty"` // program that runs programs of Arch; "none": there is none
	Created  time.Time `json:"created,omitzero"`
	Used     time.Time `json:"lastUsed,omitzero"` // of that version, to the hour
	Bytes    int64     `json:"bytes,omitempty"`   // of that version
	Running  int       `json:"running"`           // containers
}

// List describes the images of the store, by name.
func (s *Store) List() ([]Description, error) {
	names, err := s.names()
	if err != nil {
		return nil, err
	}
	list := []Description{}
	for _, name := range names {
		d, err := s.describe(name)
		if errors.Is(err, ErrUnknown) { // removed meanwhile
			continue
		}
		if err != nil {
			d = Description{Name: name, Kind: "unusable: " + err.Error()}
		}
		list = append(list, d)
	}
	return list, nil
}

// describe describes an image without marking it as in use. So a list that its caller
// has stopped does not prevent a removal.
func (s *Store) describe(name string) (Description, error) {
	dir, plain, err := s.openImage(name)
	if err != nil {
		return Description{}, err
	}
	defer unix.Close(dir)
	img := &Image{Reference: ref.Reference{Name: name}, Path: filepath.Join(s.Path, name), Private: plain, fd: dir, record: -1}
	if !plain {
		if img.Version, err = current(dir); err != nil {
			return Description{}, fmt.Errorf("image %s: %w", name, err)
		}
		img.Path = filepath.Join(img.Path, strconv.Itoa(img.Version))
	}
	return s.Describe(img)
}

// Describe describes an open image, and of its versions the open one.
func (s *Store) Describe(img *Image) (Description, error) {
	d := Description{Name: img.Name, Path: img.Path, Kind: "plain"}
	if img.Sealed() {
		err := s.describeVersion(&d, img.Version)
		return d, err
	}
	if arch, err := img.Architecture(); err == nil {
		d.Arch = arch.Debian
	}
	if s.BTRFS {
		info, err := btrfs.Describe(img.fd)
		if err != nil {
			return d, err
		}
		d.Created = info.Created
	}
	return d, nil
}

func (s *Store) describeVersion(d *Description, version int) error {
	dir, _, err := s.openImage(d.Name)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	list, err := versions(dir)
	if err != nil {
		return fmt.Errorf("image %s: %w", d.Name, err)
	}
	r, used, err := readRecord(dir, version)
	if err != nil {
		return fmt.Errorf("image %s: %w", d.Name, err)
	}
	d.Kind, d.Versions = "versions", len(list)
	d.Version, d.Arch, d.Created, d.Used, d.Bytes = r.Version, r.Arch, r.Created, used, r.Bytes
	return nil
}

// An Entry of a history is one version.
type Entry struct {
	Record
	Current bool      `json:"current"`
	Tags    []string  `json:"tags,omitempty"`
	Used    time.Time `json:"lastUsed,omitzero"`
	InUse   bool      `json:"inUse"`
}

// History lists the versions of an image, oldest first.
func (s *Store) History(name string) ([]Entry, error) {
	dir, plain, err := s.openImage(name)
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	if plain {
		return nil, fmt.Errorf("image %s %w", name, ErrPlain)
	}
	list, err := versions(dir)
	if err != nil {
		return nil, err
	}
	now, err := current(dir)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", name, err)
	}
	tags, err := tags(dir)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", name, err)
	}
	var history []Entry
	for _, n := range list {
		e := Entry{Current: n == now, Tags: tagsOf(tags, n)}
		if e.Record, e.Used, err = readRecord(dir, n); err == nil {
			e.InUse, err = inUse(dir, n)
		}
		if errors.Is(err, unix.ENOENT) { // removed meanwhile
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", name, err)
		}
		history = append(history, e)
	}
	return history, nil
}

// inUse returns whether a process uses a version, or is removing it.
func inUse(dir, version int) (bool, error) {
	fd, err := unix.Openat(dir, recordName(version), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	return lock.Marked(fd)
}

// Record reads a version's record.
func (s *Store) Record(ref ref.Reference) (Record, error) {
	dir, plain, err := s.openImage(ref.Name)
	if err != nil {
		return Record{}, err
	}
	defer unix.Close(dir)
	if plain {
		return Record{}, fmt.Errorf("image %s %w", ref.Name, ErrPlain)
	}
	version, err := s.choose(dir, ref)
	if err != nil {
		return Record{}, err
	}
	record, _, err := readRecord(dir, version)
	if errors.Is(err, unix.ENOENT) {
		err = s.unknown(ref)
	}
	return record, err
}
