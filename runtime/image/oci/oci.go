// Package oci reads and writes images as other programs exchange them: OCI image layouts
// (image-spec 1.1, image-layout.md) in a directory or a tar archive, and what `docker save` writes.
//
// The types are those few fields of the specification that a root file system needs. (The
// specification's own Go package brings a table of regular expressions, which would cost each launch a
// fifth of a millisecond.)
package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"mayfly/runtime/image/archive"
)

// Media types that are more than a name for the same JSON or tar.
const (
	mediaIndex  = "application/vnd.oci.image.index.v1+json"
	mediaList   = "application/vnd.docker.distribution.manifest.list.v2+json"
	mediaLayer  = "application/vnd.oci.image.layer.v1.tar"
	refName     = "org.opencontainers.image.ref.name"
	layoutFile  = "oci-layout"
	indexFile   = "index.json"
	dockerFile  = "manifest.json"
	maxDocument = 8 << 20 // bytes of a JSON document
	maxMembers  = 100_000 // of a tar archive
	maxDepth    = 4       // of indexes in indexes
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

// Find finds the image with a reference name or digest, or the only one for the architecture if it is empty.
// architecture is Go's name; empty for any.
func (a *Archive) Find(reference, architecture string) (*Image, error) {
	find := a.oci
	if !a.has(layoutFile) {
		if find = a.docker; !a.has(dockerFile) {
			return nil, fmt.Errorf("neither %s nor %s is in it: not an image's archive", layoutFile, dockerFile)
		}
	}
	images, err := find()
	if err != nil {
		return nil, err
	}
	return choose(images, reference, architecture)
}

func choose(images []*Image, reference, architecture string) (*Image, error) {
	var fit []*Image
	var all []string
	for _, i := range images {
		all = append(all, strconv.QuoteToASCII(i.Name)+" for "+strconv.QuoteToASCII(i.Architecture))
		named := reference == "" || i.Name == reference || i.Digest == reference
		if named && (architecture == "" || i.Architecture == architecture) {
			fit = append(fit, i)
		}
	}
	if len(fit) == 1 {
		return fit[0], nil
	}
	return nil, fmt.Errorf("%d of its images are meant, want one: choose with --ref or --arch from %s", len(fit), strings.Join(all, ", "))
}

func (a *Archive) oci() ([]*Image, error) {
	var top index
	if err := a.document(indexFile, "", &top); err != nil {
		return nil, err
	}
	return a.manifests(top.Manifests, "", maxDepth)
}

func (a *Archive) manifests(list []descriptor, name string, depth int) ([]*Image, error) {
	var images []*Image
	for _, d := range list {
		if ref := d.Annotations[refName]; ref != "" {
			name = ref
		}
		if d.MediaType == mediaIndex || d.MediaType == mediaList {
			var inner index
			if depth == 0 {
				return nil, errors.New("too many indexes in indexes")
			}
			if err := a.blob(d, &inner); err != nil {
				return nil, err
			}
			more, err := a.manifests(inner.Manifests, name, depth-1)
			if err != nil {
				return nil, err
			}
			images = append(images, more...)
			continue
		}
		if d.Platform != nil && d.Platform.OS == "unknown" { // an attestation
			continue
		}
		image, err := a.manifest(d, name)
		if err != nil {
			return nil, err
		}
		images = append(images, image)
	}
	return images, nil
}

func (a *Archive) manifest(d descriptor, name string) (*Image, error) {
	var m manifest
	var c config
	if err := errors.Join(a.blob(d, &m)); err != nil {
		return nil, err
	}
	if err := a.blob(m.Config, &c); err != nil {
		return nil, err
	}
	if len(m.Layers) != len(c.RootFS.DiffIDs) {
		return nil, fmt.Errorf("manifest %s: %d layers and %d digests of their contents", d.Digest, len(m.Layers), len(c.RootFS.DiffIDs))
	}
	image := &Image{Name: name, Architecture: c.Architecture, Labels: c.Config.Labels, Digest: d.Digest, archive: a}
	for i, l := range m.Layers {
		blob, err := blobName(l.Digest)
		if err != nil {
			return nil, err
		}
		image.layers = append(image.layers, layer{blob, l.Digest, l.Size, c.RootFS.DiffIDs[i]})
	}
	return image, nil
}

// docker reads what docker save wrote before it wrote OCI layouts.
func (a *Archive) docker() ([]*Image, error) {
	var list []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := a.document(dockerFile, "", &list); err != nil {
		return nil, err
	}
	var images []*Image
	for _, one := range list {
		var c config
		if err := a.document(path.Clean("/" + one.Config)[1:], "", &c); err != nil {
			return nil, err
		}
		if len(one.Layers) != len(c.RootFS.DiffIDs) {
			return nil, fmt.Errorf("%s: %d layers and %d digests of their contents", strconv.QuoteToASCII(one.Config), len(one.Layers), len(c.RootFS.DiffIDs))
		}
		digest := "sha256:" + strings.TrimSuffix(path.Base(one.Config), ".json")
		image := &Image{Architecture: c.Architecture, Labels: c.Config.Labels, Digest: digest, archive: a}
		if len(one.RepoTags) > 0 {
			image.Name = one.RepoTags[0]
		}
		for i, name := range one.Layers {
			image.layers = append(image.layers, layer{path.Clean("/" + name)[1:], "", -1, c.RootFS.DiffIDs[i]})
		}
		images = append(images, image)
	}
	return images, nil
}

// Extract applies the layers in their order, and checks each against its digests. What it has extracted before
// an error stays for the caller to remove.
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
	stored, err := newChecked(blob, l.blob)
	if err != nil {
		return err
	}
	plain, err := archive.DecompressStream(ctx, stored)
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
	// The program that decompresses may have left a part.
	if _, err := io.Copy(io.Discard, stored); err != nil {
		return err
	}
	return errors.Join(stored.check(), content.check())
}

// document reads a JSON document and checks its digest if there is one.
func (a *Archive) document(name, digest string, into any) error {
	r, closer, err := a.open(name)
	if err != nil {
		return err
	}
	defer closer.Close()
	if r.Size() > maxDocument {
		return fmt.Errorf("%s is larger than %d bytes", strconv.QuoteToASCII(name), maxDocument)
	}
	c, err := newChecked(r, digest)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(c)
	if err == nil {
		err = c.check()
	}
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", strconv.QuoteToASCII(name), err)
	}
	return nil
}

func (a *Archive) blob(d descriptor, into any) error {
	name, err := blobName(d.Digest)
	if err != nil {
		return err
	}
	return a.document(name, d.Digest, into)
}
