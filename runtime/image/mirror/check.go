package mirror

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"mayfly/runtime/image/ref"
	"mayfly/runtime/internal/exact"
)

// parseIndex reads an index, which is not trusted.
func parseIndex(data []byte) (Index, error) {
	var i Index
	if err := exact.Unmarshal(data, &i); err != nil || i.Format != indexFormat {
		return i, fmt.Errorf("not what `runtime image publish` writes, format %q", indexFormat)
	}
	seen := map[string]bool{}
	for _, img := range i.Images {
		if err := img.check(); err != nil {
			return i, fmt.Errorf("image %q: %w", img.Name, err)
		}
		if seen[img.Name] {
			return i, fmt.Errorf("image %q is there twice", img.Name)
		}
		seen[img.Name] = true
	}
	return i, nil
}

func (img Image) check() error {
	if err := ref.CheckName("image", img.Name); err != nil {
		return err
	}
	last, hasCurrent := 0, false
	for _, v := range img.Versions {
		if _, ok := ref.ParseVersion(fmt.Sprint(v.Version)); !ok || v.Version <= last {
			return fmt.Errorf("version %d after version %d", v.Version, last)
		}
		last, hasCurrent = v.Version, hasCurrent || v.Version == img.Current
		if err := v.check(); err != nil {
			return fmt.Errorf("version %d: %w", v.Version, err)
		}
	}
	for tag, n := range img.Tags {
		if err := ref.CheckTag(tag); err != nil {
			return err
		}
		if !slices.ContainsFunc(img.Versions, func(v Version) bool { return v.Version == n }) {
			return fmt.Errorf("tag %s leads to version %d, which it has not", tag, n)
		}
	}
	if !hasCurrent {
		return fmt.Errorf("it has no version %d, which is the current one", img.Current)
	}
	return nil
}

func (v Version) check() error {
	if !isDigest(v.Digest) {
		return fmt.Errorf("digest %q", v.Digest)
	}
	if _, err := v.Config.Checked(); err != nil {
		return err
	}
	for _, f := range []*File{v.Whole, v.Changes} {
		if f == nil {
			continue
		}
		if err := f.check(); err != nil {
			return err
		}
	}
	if v.Changes != nil && !isDigest(v.Changes.Base) {
		return fmt.Errorf("file %q builds on %q", v.Changes.Name, v.Changes.Base)
	}
	return nil
}

// check returns an error unless the name leads to a file in the directory of files, and
// means the same in a path and in a URL.
func (f File) check() error {
	if dir, base := path.Split(f.Name); dir != filesDirectory+"/" || !isFileName(base) {
		return fmt.Errorf("file %q: want %s/DIGEST", f.Name, filesDirectory)
	}
	if f.Bytes <= 0 || !isHex(f.SHA256, 64) {
		return errors.New("file " + f.Name + " has no size or checksum")
	}
	return nil
}

func isDigest(text string) bool {
	sum, ok := strings.CutPrefix(text, "sha256:")
	return ok && isHex(sum, 64)
}

func isHex(text string, digits int) bool {
	return len(text) == digits && strings.Trim(text, "0123456789abcdef") == ""
}

// digits is how many digits of a digest are in a file's name.
const digits = 32

// isFileName returns whether a name has the form of a file's in the directory of files:
// DIGEST or DIGEST-from-DIGEST, of the version and of what it builds on.
func isFileName(name string) bool {
	version, base, changes := strings.Cut(name, "-from-")
	return isHex(version, digits) && (!changes || isHex(base, digits))
}
