// Package oci reads and writes images in the formats of other programs: OCI image
// layouts (image-spec 1.1, image-layout.md) in a directory or a tar archive, and docker
// save's archives.
//
// Its types have only the fields of the specification that a root file system needs.
// (The specification's own Go package has a table of regular expressions, which would
// cost each launch a fifth of a millisecond.)
package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"mayfly/runtime/image/archive"
)

// Media types that are more than a name for the same JSON or tar.
const (
	mediaIndex = "application/vnd.oci.image.index.v1+json"
	mediaList  = "application/vnd.docker.distribution.manifest.list.v2+json"
	mediaLayer = "application/vnd.oci.image.layer.v1.tar"
	refName    = "org.opencontainers.image.ref.name"
	layoutFile = "oci-layout"
	indexFile  = "index.json"
	dockerFile = "manifest.json"
	maxMembers = 100_000 // of a tar archive
	maxName    = 256     // bytes of a member's name, and of the target of one that is a link
	maxLinks   = 4       // to a member
)

// A descriptor names a blob (descriptor.md).
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    *platform         `json:"platform,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType,omitempty"`
	Manifests     []descriptor `json:"manifests"`
}

type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType,omitempty"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

type config struct {
	Created      string `json:"created,omitempty"`
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Config       struct {
		Settings
		Labels map[string]string `json:"Labels,omitempty"`
	} `json:"config"`
	RootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

// An Image is one image of a layout.
type Image struct {
	Name         string // reference or tag, may be empty
	Architecture string // as Go names it
	Labels       map[string]string
	Settings     *Settings
	Digest       string // of the manifest; of docker save's, the configuration
	layers       []layer
	archive      *Archive
}

type layer struct {
	name    string // in the archive
	blob    string // digest as it is stored, may be empty
	size    int64  // of the same, -1: unknown
	content string // digest of the tar archive
}

// Find finds the image with a reference name or digest. If reference is "", it returns
// the only image for the architecture (Go's name; "": any).
func (a *Archive) Find(reference, architecture string) (*Image, error) {
	find := a.finder().oci
	if !a.has(layoutFile) {
		if find = a.finder().docker; !a.has(dockerFile) {
			return nil, fmt.Errorf("neither %s nor %s is in it: not an image's archive", layoutFile, dockerFile)
		}
	}
	images, err := find()
	if err != nil {
		return nil, err
	}
	return choose(images, reference, architecture)
}

// maxTold is the limit of images that an error names.
const maxTold = 20

func choose(images []*Image, reference, architecture string) (*Image, error) {
	var fit []*Image
	var all []string
	for _, i := range images {
		if len(all) < maxTold {
			all = append(all, fmt.Sprintf("%+.80q for %+.20q", i.Name, i.Architecture))
		}
		named := reference == "" || i.Name == reference || i.Digest == reference
		if named && (architecture == "" || i.Architecture == architecture) {
			fit = append(fit, i)
		}
	}
	if len(fit) == 1 {
		return fit[0], nil
	}
	if more := len(images) - len(all); more > 0 {
		all = append(all, fmt.Sprintf("%d more", more))
	}
	return nil, fmt.Errorf("%d of its images are meant, want one: choose with --ref or --arch from %s", len(fit), strings.Join(all, ", "))
}

// Extract applies the layers in order, and checks the digests of each. After an error,
// the caller must remove what it has extracted.
func (i *Image) Extract(ctx context.Context, x *archive.Extractor) error {
	for n, l := range i.layers {
		if err := i.archive.extract(ctx, x, l); err != nil {
			return fmt.Errorf("layer %d of %d: %w", n+1, len(i.layers), err)
		}
	}
	return nil
}

func (a *Archive) extract(ctx context.Context, x *archive.Extractor, l layer) error {
	blob, closer, err := a.open(l.name)
	if err != nil {
		return err
	}
	defer closer.Close()
	if l.size >= 0 && blob.Size() != l.size {
		return fmt.Errorf("%d bytes instead of %d", blob.Size(), l.size)
	}
	check := func() error { return nil }
	stored := io.Reader(blob)
	if l.blob != "" {
		c, err := newChecked(blob, l.blob)
		if err != nil {
			return err
		}
		stored, check = c, c.check
	}
	plain, err := archive.DecompressStream(ctx, x.Here, stored)
	if err != nil {
		return err
	}
	defer plain.Close()
	content, err := newChecked(plain, l.content)
	if err != nil {
		return err
	}
	if err := x.ExtractLayer(ctx, content); err != nil {
		return err
	}
	// The decompressing program may not have read everything.
	if _, err := io.Copy(io.Discard, stored); err != nil {
		return err
	}
	return errors.Join(check(), content.check())
}
