package oci

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strings"
)

// blobName returns the name of a blob in a layout.
func blobName(digest string) (string, error) {
	if _, err := newHash(digest); err != nil {
		return "", err
	}
	return "blobs/" + strings.Replace(digest, ":", "/", 1), nil
}

// newHash returns the hash of a digest, which must be well-formed.
func newHash(digest string) (hash.Hash, error) {
	algorithm, value, _ := strings.Cut(digest, ":")
	var h hash.Hash
	switch algorithm {
	case "sha256":
		h = sha256.New()
	case "sha512":
		h = sha512.New()
	default:
		return nil, fmt.Errorf("digest %+.80q: want sha256 or sha512", digest)
	}
	if b, err := hex.DecodeString(value); err != nil || len(b) != h.Size() || strings.ToLower(value) != value {
		return nil, fmt.Errorf("digest %+.80q is not well-formed", digest)
	}
	return h, nil
}

// checked is a reader that compares its content with a digest.
type checked struct {
	io.Reader
	hash hash.Hash
	want string
}

func newChecked(r io.Reader, digest string) (*checked, error) {
	h, err := newHash(digest)
	if err != nil {
		return nil, err
	}
	return &checked{io.TeeReader(r, h), h, digest}, nil
}

func (c *checked) check() error {
	algorithm, want, _ := strings.Cut(c.want, ":")
	if got := hex.EncodeToString(c.hash.Sum(nil)); got != want {
		return fmt.Errorf("wrong checksum %s:%s instead of %s", algorithm, got, c.want)
	}
	return nil
}
