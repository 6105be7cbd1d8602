package mirror

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"mayfly/runtime/image"
	"mayfly/runtime/image/ref"
	"mayfly/runtime/internal/exact"
)

// An Index says what a source has.
type Index struct {
	Format string    `json:"mayfly-images"` // indexFormat
	Made   time.Time `json:"made"`
	BTRFS  bool      `json:"btrfs,omitempty"` // the source is a store on BTRFS
	Images []Image   `json:"images"`          // by name
}

const (
	indexFormat = "1"
	// IndexName is the index's file in a published directory.
	IndexName = "mayfly-images"
	maxIndex  = 64 << 20
)

// An Image of an index has at least one version.
type Image struct {
	Name     string         `json:"name"`
	Current  int            `json:"current"`
	Tags     map[string]int `json:"tags,omitempty"`
	Versions []Version      `json:"versions"` // by number
	some     bool           // of its versions, those that were asked for
}

// A Version of an image, with the files that have it. In the index of a store there are
// no files: a store sends what it is asked for.
type Version struct {
	image.Record
	StreamID string `json:"stream,omitempty"` // see image.Store.StreamID
	Whole    *File  `json:"whole,omitempty"`
	Changes  *File  `json:"changes,omitempty"` // since another version
}

// A File of a published directory has what image.Store.Send writes, compressed.
type File struct {
	Name   string `json:"name"` // in the directory
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	Base   string `json:"base,omitempty"` // digest of the version that it builds on
}

// Describe makes the index of a store: of the images of these names; of no names: of all
// that have versions.
func Describe(s *image.Store, names []string) (Index, error) {
	index := Index{Format: indexFormat, Made: time.Now().UTC().Truncate(time.Second), BTRFS: s.BTRFS, Images: []Image{}}
	all := len(names) == 0
	if all {
		list, err := s.List()
		if err != nil {
			return index, err
		}
		for _, d := range list {
			names = append(names, d.Name)
		}
	}
	for _, name := range names {
		img, err := describe(s, name)
		if all && (errors.Is(err, image.ErrPlain) || errors.Is(err, image.ErrUnknown)) { // or removed meanwhile
			continue
		}
		if err != nil {
			return index, err
		}
		index.Images = append(index.Images, img)
	}
	slices.SortFunc(index.Images, func(a, b Image) int { return strings.Compare(a.Name, b.Name) })
	index.Images = slices.CompactFunc(index.Images, func(a, b Image) bool { return a.Name == b.Name })
	return index, nil
}

// describe describes an image. It tries again if the image is changed meanwhile.
func describe(s *image.Store, name string) (img Image, err error) {
	for range 3 {
		if img, err = describeOnce(s, name); err == nil {
			err = img.check()
		}
		if err == nil || errors.Is(err, image.ErrPlain) {
			return img, err
		}
	}
	return img, err
}

func describeOnce(s *image.Store, name string) (Image, error) {
	img := Image{Name: name}
	history, err := s.History(name)
	if err != nil {
		return img, err
	}
	for _, e := range history {
		v := Version{Record: e.Record}
		if v.StreamID, err = s.StreamID(ref.Reference{Name: name, Version: e.Version}); err != nil {
			return img, err
		}
		img.Versions = append(img.Versions, v)
		if e.Current {
			img.Current = e.Version
		}
		for _, tag := range e.Tags {
			if img.Tags == nil {
				img.Tags = map[string]int{}
			}
			img.Tags[tag] = e.Version
		}
	}
	return img, nil
}

// WriteIndex writes the index of a store, for a source of ssh://.
func WriteIndex(w io.Writer, s *image.Store, names []string) error {
	index, err := Describe(s, names)
	if err != nil {
		return err
	}
	data, err := index.encode()
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

// choose returns the images that some references name; without any: all. Of an image
// that a reference names with a choice it has the version that was chosen.
func (i Index) choose(names []string) ([]Image, error) {
	if len(names) == 0 {
		return i.Images, nil
	}
	var list []Image
	for _, text := range names {
		named, err := ref.Parse(text)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(i.Images, func(img Image) bool { return img.Name == named.Name })
		if at < 0 {
			return nil, fmt.Errorf("the source has no image %s; it has %s", named.Name, i.names())
		}
		img := i.Images[at]
		if named.Chooses() {
			if img, err = img.only(named); err != nil {
				return nil, err
			}
		}
		list = append(list, img)
	}
	return list, nil
}

// only is the image with one of its versions.
func (img Image) only(named ref.Reference) (Image, error) {
	n := max(named.Version, img.Tags[named.Tag])
	var found []Version
	for _, v := range slices.Backward(img.Versions) {
		is := v.Version == n || named.HasDigest(v.Digest)
		if is && (len(found) == 0 || v.Digest != found[0].Digest) {
			found = append(found, v)
		}
	}
	switch len(found) {
	case 0:
		return img, fmt.Errorf("the source has no %s", named)
	case 1:
		img.Versions, img.some = found, true
		return img, nil
	}
	return img, fmt.Errorf("the source has versions %d and %d whose digests begin as in %s: give more digits", found[1].Version, found[0].Version, named)
}

func (i Index) names() string {
	var names []string
	for _, img := range i.Images {
		names = append(names, img.Name)
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// encode encodes an index.
func (i Index) encode() ([]byte, error) {
	data, err := exact.Marshal(i)
	return append(data, '\n'), err
}

// files lists the files of an index.
func (i Index) files() (list []File) {
	for _, img := range i.Images {
		for _, v := range img.Versions {
			for _, f := range []*File{v.Whole, v.Changes} {
				if f != nil {
					list = append(list, *f)
				}
			}
		}
	}
	return list
}
