package image

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mayfly/runtime/image/ref"
)

// tagPrefix begins the name of a tag in an image's directory: a symbolic link to a
// version's number, like currentLink.
const tagPrefix = "@"

// ErrNotHere means that no version here has the digest or tag of a reference.
var ErrNotHere = errors.New("not here")

// choose returns the number of the version that a reference names, in an image's
// directory. Without any choice it is the current one.
func (s *Store) choose(dir int, r ref.Reference) (int, error) {
	switch {
	case r.Digest != "":
		return s.withDigest(dir, r)
	case r.Tag != "":
		return s.tagged(dir, r)
	case r.Version != 0:
		return r.Version, nil
	}
	n, err := current(dir)
	if err != nil {
		err = fmt.Errorf("image %s: %w", r.Name, err)
	}
	return n, err
}

// Offers tells whether an open image is one of some versions, which are written as
// after the @ of a reference. Those that are not here are none.
func (s *Store) Offers(img *Image, choices []string) (bool, error) {
	if !img.Sealed() {
		return false, nil
	}
	dir, err := s.openVersions(img.Name)
	if err != nil {
		return false, err
	}
	defer unix.Close(dir)
	for _, text := range choices {
		choice, err := ref.ParseChoice(text)
		if err != nil {
			return false, err
		}
		choice.Name = img.Name
		n, err := s.choose(dir, choice)
		if err != nil && !errors.Is(err, ErrNotHere) {
			return false, err
		}
		if err == nil && n == img.Version {
			return true, nil
		}
	}
	return false, nil
}

// withDigest returns the version whose digest begins so. Versions with the same digest
// have the same content: the latest of them is returned.
func (s *Store) withDigest(dir int, r ref.Reference) (found int, err error) {
	list, err := versions(dir)
	if err != nil {
		return 0, fmt.Errorf("image %s: %w", r.Name, err)
	}
	digest := ""
	for _, n := range slices.Backward(list) {
		record, _, err := readRecord(dir, n)
		if errors.Is(err, unix.ENOENT) { // removed meanwhile
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("image %s: %w", r.Name, err)
		}
		switch {
		case !r.HasDigest(record.Digest) || record.Digest == digest:
		case found != 0:
			return 0, fmt.Errorf("image %s: versions %d and %d have digests that begin so: give more digits", r, n, found)
		default:
			found, digest = n, record.Digest
		}
	}
	if found == 0 {
		return 0, fmt.Errorf("image %s is %w: `runtime image sync SOURCE %s` brings it from where it is, `runtime image history %s` shows what is here%s",
			r, ErrNotHere, r, r.Name, s.elsewhere(r))
	}
	return found, nil
}

// elsewhere tells of another image here that has a version with the digest, for an
// error: who takes a digest from a machine of another architecture may see the name.
func (s *Store) elsewhere(r ref.Reference) string {
	names, _ := s.names() // without them there is no advice
	for _, name := range names {
		history, err := s.History(name)
		if err != nil {
			continue
		}
		for _, e := range history {
			if name != r.Name && r.HasDigest(e.Digest) {
				return fmt.Sprintf("; %s@%d has this digest (%s)", name, e.Version, e.Arch)
			}
		}
	}
	return ""
}

// tagged returns the version to which a tag leads.
func (s *Store) tagged(dir int, r ref.Reference) (int, error) {
	n, err := follow(dir, tagPrefix+r.Tag)
	if errors.Is(err, unix.ENOENT) {
		return 0, fmt.Errorf("image %s is %w: it has no such tag; `runtime image history %s` shows those it has", r, ErrNotHere, r.Name)
	}
	if err != nil {
		err = fmt.Errorf("image %s: %w", r, err)
	}
	return n, err
}

// Tags returns the tags of an image, with the versions to which they lead.
func (s *Store) Tags(name string) (map[string]int, error) {
	dir, err := s.openVersions(name)
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	return tags(dir)
}

func tags(dir int) (map[string]int, error) {
	list, err := entries(dir, ".")
	if err != nil {
		return nil, fmt.Errorf("list tags: %w", err)
	}
	found := map[string]int{}
	for _, entry := range list {
		tag, is := strings.CutPrefix(entry.Name(), tagPrefix)
		if !is || ref.CheckTag(tag) != nil {
			continue
		}
		n, err := follow(dir, entry.Name())
		if errors.Is(err, unix.ENOENT) { // removed meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		found[tag] = n
	}
	return found, nil
}

// TagsOf lists the tags that lead to an open version.
func (s *Store) TagsOf(img *Image) ([]string, error) {
	tags, err := s.Tags(img.Name)
	return tagsOf(tags, img.Version), err
}

// tagsOf lists the tags among some that lead to a version, sorted.
func tagsOf(tags map[string]int, version int) (list []string) {
	for tag, n := range tags {
		if n == version {
			list = append(list, tag)
		}
	}
	slices.Sort(list)
	return list
}

// Tag makes a tag lead to the version that a reference names, and returns its number. A
// version with a tag is not pruned.
func (s *Store) Tag(to ref.Reference, tag string) (int, error) {
	if err := ref.CheckTag(tag); err != nil {
		return 0, err
	}
	dir, err := s.changeImage(to.Name)
	if err != nil {
		return 0, err
	}
	defer unix.Close(dir)
	version, err := s.choose(dir, to)
	if err != nil {
		return 0, err
	}
	list, err := versions(dir)
	if err == nil && !slices.Contains(list, version) {
		err = s.unknown(to)
	}
	if err == nil {
		err = lead(dir, tagPrefix+tag, version)
	}
	if err != nil {
		return 0, fmt.Errorf("tag image %s: %w", to, err)
	}
	return version, s.sync()
}

// Untag removes a tag of an image.
func (s *Store) Untag(name, tag string) error {
	if err := ref.CheckTag(tag); err != nil {
		return err
	}
	dir, err := s.changeImage(name)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	err = unix.Unlinkat(dir, tagPrefix+tag, 0)
	if err == unix.ENOENT {
		_, err = s.tagged(dir, ref.Reference{Name: name, Tag: tag})
	}
	if err != nil {
		return fmt.Errorf("remove a tag: %w", err)
	}
	return s.sync()
}
