package ref

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A Reference names an image, and one of its versions by at most one of Version, Digest
// and Tag. Without any it means the current version.
type Reference struct {
	Name    string
	Version int    // 0: not by its number
	Digest  string // the first hex digits of the version's digest; "": not by its digest
	Tag     string // "": not by a tag
}

const (
	// DigestPrefix begins a digest, in a reference and in a version's record.
	DigestPrefix = "sha256:"
	// DigestDigits are all hex digits of a digest, fewestDigits how many have to be
	// given: with fewer, a mistyped digit would often name another version.
	DigestDigits, fewestDigits = 64, 6
)

// Parse reads NAME, NAME@VERSION, NAME@sha256:DIGITS or NAME@TAG.
func Parse(text string) (Reference, error) {
	name, which, chosen := strings.Cut(text, "@")
	if err := CheckName("image", name); err != nil {
		return Reference{}, err
	}
	if !chosen {
		return Reference{Name: name}, nil
	}
	r, err := ParseChoice(which)
	if err != nil {
		return Reference{}, fmt.Errorf("image %s: %w", name, err)
	}
	r.Name = name
	return r, nil
}

// ParseChoice reads what follows the @ of a reference. The result has no Name.
func ParseChoice(text string) (Reference, error) {
	if digits, is := strings.CutPrefix(text, DigestPrefix); is {
		if len(digits) < fewestDigits || len(digits) > DigestDigits || strings.Trim(digits, "0123456789abcdef") != "" {
			return Reference{}, fmt.Errorf("digest %s: want %s and %d to %d digits 0-9, a-f", strconv.QuoteToASCII(text), DigestPrefix, fewestDigits, DigestDigits)
		}
		return Reference{Digest: digits}, nil
	}
	if strings.Trim(text, "+-0123456789") == "" {
		n, ok := ParseVersion(text)
		if !ok {
			return Reference{}, fmt.Errorf("version %s: want a number from 1, as in NAME@1", strconv.QuoteToASCII(text))
		}
		return Reference{Version: n}, nil
	}
	if err := CheckTag(text); err != nil {
		return Reference{}, err
	}
	return Reference{Tag: text}, nil
}

// CheckTag accepts names of tags: those of CheckName that no version's number looks
// like.
func CheckTag(tag string) error {
	if err := CheckName("tag", tag); err != nil {
		return err
	}
	if strings.Trim(tag, "0123456789") == "" {
		return fmt.Errorf("tag %s looks like a version's number", tag)
	}
	if tag == "sha256" {
		return errors.New("tag sha256 looks like a digest")
	}
	return nil
}

// ParseVersion reads a version's number as String writes it: from 1, without sign or
// leading zeros.
func ParseVersion(text string) (int, bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n > 0 && n < 1e9 && strconv.Itoa(n) == text
}

// Chooses tells that the reference names one version.
func (r Reference) Chooses() bool { return r.Version != 0 || r.Digest != "" || r.Tag != "" }

// HasDigest tells whether the reference's Digest begins a version's digest.
func (r Reference) HasDigest(digest string) bool {
	return r.Digest != "" && strings.HasPrefix(digest, DigestPrefix+r.Digest)
}

func (r Reference) String() string {
	if choice := r.Choice(); choice != "" {
		return r.Name + "@" + choice
	}
	return r.Name
}

// Choice is what follows the @ of the reference; "": there is none.
func (r Reference) Choice() string {
	switch {
	case r.Digest != "":
		return DigestPrefix + r.Digest
	case r.Version != 0:
		return strconv.Itoa(r.Version)
	}
	return r.Tag
}
