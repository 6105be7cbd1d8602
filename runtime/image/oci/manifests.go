package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
)

// Limits of the documents in a layout. A registry's index has one manifest for each
// architecture and as many attestations, of some kilobytes each. docker save writes one
// manifest for each image.
const (
	maxDescriptors = 1000    // of manifests and indexes, in all indexes together
	maxDepth       = 4       // of indexes in indexes
	maxDocument    = 8 << 20 // bytes of a JSON document
	maxDocuments   = 64 << 20
)

// A finder reads the documents of a layout, each digest once.
type finder struct {
	*Archive
	descriptors int   // how many more may come
	bytes       int64 // how many more bytes of documents may come
	images      map[string]*Image
	indexes     map[string]*index
}

func (a *Archive) finder() *finder {
	return &finder{a, maxDescriptors, maxDocuments, map[string]*Image{}, map[string]*index{}}
}

// oci reads an OCI layout.
func (f *finder) oci() ([]*Image, error) {
	var top index
	if err := f.document(indexFile, "", &top); err != nil {
		return nil, err
	}
	return f.manifests(top.Manifests, "", maxDepth)
}

func (f *finder) manifests(list []descriptor, name string, depth int) ([]*Image, error) {
	var images []*Image
	for _, d := range list {
		if f.descriptors--; f.descriptors < 0 {
			return nil, fmt.Errorf("its indexes list more than %d manifests", maxDescriptors)
		}
		if ref := d.Annotations[refName]; ref != "" {
			name = ref
		}
		if d.MediaType == mediaIndex || d.MediaType == mediaList {
			if depth == 0 {
				return nil, errors.New("too many indexes in indexes")
			}
			inner, err := f.index(d)
			if err != nil {
				return nil, err
			}
			more, err := f.manifests(inner.Manifests, name, depth-1)
			if err != nil {
				return nil, err
			}
			images = append(images, more...)
			continue
		}
		if d.Platform != nil && d.Platform.OS == "unknown" { // an attestation
			continue
		}
		image, err := f.manifest(d)
		if err != nil {
			return nil, err
		}
		named := *image
		named.Name = name
		images = append(images, &named)
	}
	return images, nil
}

func (f *finder) index(d descriptor) (*index, error) {
	if known := f.indexes[d.Digest]; known != nil {
		return known, nil
	}
	var i index
	if err := f.blob(d, &i); err != nil {
		return nil, err
	}
	f.indexes[d.Digest] = &i
	return &i, nil
}

// manifest reads a manifest, of an image without a name.
func (f *finder) manifest(d descriptor) (*Image, error) {
	if known := f.images[d.Digest]; known != nil {
		return known, nil
	}
	var m manifest
	var c config
	if err := f.blob(d, &m); err != nil {
		return nil, err
	}
	if err := f.blob(m.Config, &c); err != nil {
		return nil, err
	}
	image, err := f.image("manifest "+d.Digest, &c, len(m.Layers))
	if err != nil {
		return nil, err
	}
	image.Digest = d.Digest
	for i, l := range m.Layers {
		blob, err := blobName(l.Digest)
		if err != nil {
			return nil, err
		}
		image.layers = append(image.layers, layer{blob, l.Digest, l.Size, c.RootFS.DiffIDs[i]})
	}
	f.images[d.Digest] = image
	return image, nil
}

// image makes an image from its configuration, which must have a content digest for
// each layer.
func (f *finder) image(what string, c *config, layers int) (*Image, error) {
	if layers != len(c.RootFS.DiffIDs) {
		return nil, fmt.Errorf("%s: %d layers and %d digests of their contents", what, layers, len(c.RootFS.DiffIDs))
	}
	for i, digest := range c.RootFS.DiffIDs {
		if _, err := newHash(digest); err != nil {
			return nil, fmt.Errorf("%s: content of layer %d: %w", what, i+1, err)
		}
	}
	return &Image{Architecture: c.Architecture, Labels: c.Config.Labels, Settings: &c.Config.Settings, archive: f.Archive}, nil
}

// docker reads the format that docker save wrote before OCI layouts.
func (f *finder) docker() ([]*Image, error) {
	var list []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := f.document(dockerFile, "", &list); err != nil {
		return nil, err
	}
	if len(list) > maxDescriptors {
		return nil, fmt.Errorf("%s lists more than %d images", dockerFile, maxDescriptors)
	}
	var images []*Image
	for _, one := range list {
		image, err := f.dockerImage(one.Config, one.Layers)
		if err != nil {
			return nil, err
		}
		if len(one.RepoTags) > 0 {
			image.Name = one.RepoTags[0]
		}
		images = append(images, image)
	}
	return images, nil
}

// dockerImage reads a configuration, whose name is its digest: HEX.json, or sha256:HEX
// as some programs write it.
func (f *finder) dockerImage(name string, layers []string) (*Image, error) {
	digest := "sha256:" + strings.TrimPrefix(strings.TrimSuffix(path.Base(name), ".json"), "sha256:")
	if _, err := newHash(digest); err != nil {
		return nil, fmt.Errorf("configuration %+.80q: its name is not its digest: %w", name, err)
	}
	var c config
	if err := f.document(path.Clean("/" + name)[1:], digest, &c); err != nil {
		return nil, err
	}
	image, err := f.image(strconv.QuoteToASCII(name), &c, len(layers))
	if err != nil {
		return nil, err
	}
	image.Digest = digest
	for i, name := range layers {
		image.layers = append(image.layers, layer{path.Clean("/" + name)[1:], "", -1, c.RootFS.DiffIDs[i]})
	}
	return image, nil
}

func (f *finder) blob(d descriptor, into any) error {
	name, err := blobName(d.Digest)
	if err != nil {
		return err
	}
	return f.document(name, d.Digest, into)
}

// document reads a JSON document and checks its digest. digest is "" if there is none.
func (f *finder) document(name, digest string, into any) error {
	data, err := f.read(name, digest)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		return fmt.Errorf("%+.80q: %w", name, err)
	}
	return nil
}

func (f *finder) read(name, digest string) ([]byte, error) {
	r, closer, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	if r.Size() > maxDocument {
		return nil, fmt.Errorf("it is larger than %d bytes", maxDocument)
	}
	if f.bytes -= r.Size(); f.bytes < 0 {
		return nil, fmt.Errorf("the archive has more than %d bytes of documents", maxDocuments)
	}
	if digest == "" {
		return io.ReadAll(r)
	}
	c, err := newChecked(r, digest)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(c)
	if err == nil {
		err = c.check()
	}
	return data, err
}
