package image

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/btrfs"
	"mayfly/mount"
)

// A Description is what a list tells of an image.
type Description struct {
	Name    string    `json:"name"`
	Path    string    `json:"path"`
	Arch    string    `json:"arch,omitempty"` // Debian's name
	Kind    string    `json:"kind"`           // subvolume, read-only subvolume, directory
	Created time.Time `json:"created,omitzero"`
}

// List describes the images of the store, by name.
func (s *Store) List() ([]Description, error) {
	names, err := entries(s.fd, ".")
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", s.Path, err)
	}
	list := []Description{}
	for _, entry := range names {
		if !entry.IsDir() || strings.HasPrefix(entry.Name(), ".") || CheckName("image", entry.Name()) != nil {
			continue
		}
		d, err := s.describe(entry.Name())
		if errors.Is(err, ErrUnknown) { // removed meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b Description) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

func (s *Store) describe(name string) (Description, error) {
	img, err := s.Image(name)
	if err != nil {
		return Description{}, err
	}
	defer img.Close()
	d := Description{Name: name, Path: img.Path, Kind: "directory"}
	if arch, err := img.Architecture(); err == nil {
		d.Arch = arch.Debian
	}
	if is, err := btrfs.IsSubvolume(img.fd); err != nil || !is {
		return d, err
	}
	info, err := btrfs.Describe(img.fd)
	if err != nil {
		return d, err
	}
	d.Kind, d.Created = "subvolume", info.Created
	if info.ReadOnly {
		d.Kind = "read-only subvolume"
	}
	return d, nil
}

// Remove removes an image. Snapshots of it live on.
func (s *Store) Remove(name string) error {
	img, err := s.Image(name)
	if err != nil {
		return err
	}
	defer img.Close()
	if err := img.CheckSubvolume(); err != nil {
		return err
	}
	if err := deleteTree(s.fd, name); err != nil {
		return fmt.Errorf("remove image %s: %w", img.Path, err)
	}
	return nil
}

// makeMountPoints makes those mount points that the image does not have.
func makeMountPoints(fd int) error {
	root := mount.RootAt(fd)
	here, err := mount.TreeFromFD(fd).Place()
	if err != nil {
		return err
	}
	for _, name := range mountPoints.directories {
		if err := root.Create(name, true, here.MountID); err != nil {
			return err
		}
	}
	for _, name := range mountPoints.files {
		if target, err := root.Name(name); err == nil { // a link that leads nowhere will do
			target.Close()
			continue
		}
		if err := root.Create(name, false, here.MountID); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
	return nil
}
