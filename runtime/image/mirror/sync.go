package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"mayfly/runtime/image"
	"mayfly/runtime/image/ref"
)

// syncImage makes one image what it is at the source.
func syncImage(ctx context.Context, s *image.Store, from Source, streams bool, img Image, o Options) (Result, error) {
	r := Result{Name: img.Name, Current: img.Current, Brought: []int{}, Removed: []int{}, InUse: []int{}}
	for {
		here, err := s.History(img.Name)
		if err != nil && !errors.Is(err, image.ErrUnknown) {
			return r, err
		}
		next, err := missing(img, here, o.Current)
		if err != nil {
			return r, err
		}
		if next == nil {
			return r, finish(s, img, here, o.Prune, &r)
		}
		w := Wanted{Image: img, Version: *next, Here: map[string]image.Entry{}}
		if err := w.look(s, here, streams); err != nil {
			return r, err
		}
		if o.Fetching != nil {
			o.Fetching(img.Name, next.Version)
		}
		if err := bring(ctx, s, from, w, o); err != nil {
			return r, fmt.Errorf("version %d: %w", next.Version, err)
		}
		r.Brought = append(r.Brought, next.Version)
	}
}

// missing returns the next version that has to come; nil: all are here. An image that is
// not here gets its current version first, since it goes to work at once.
func missing(img Image, here []image.Entry, currentOnly bool) (*Version, error) {
	var first *Version
	for n := range img.Versions {
		v := &img.Versions[n]
		at := slices.IndexFunc(here, func(e image.Entry) bool { return e.Version == v.Version })
		if at >= 0 && here[at].Digest != v.Digest {
			return nil, fmt.Errorf("version %d here is another than that of the source: rename the image here, or remove it", v.Version)
		}
		if at >= 0 || v.Version != img.Current && currentOnly {
			continue
		}
		if first == nil || len(here) == 0 && v.Version == img.Current {
			first = v
		}
	}
	return first, nil
}

// look finds what the store has of the source's versions.
func (w *Wanted) look(s *image.Store, here []image.Entry, streams bool) error {
	if streams && s.BTRFS {
		w.Streams = map[string]string{}
	}
	for _, e := range here {
		w.Here[e.Digest] = e
		if w.Streams == nil {
			continue
		}
		id, err := s.StreamID(ref.Reference{Name: w.Image.Name, Version: e.Version})
		if err != nil && !errors.Is(err, image.ErrUnknown) { // removed meanwhile
			return err
		}
		w.Streams[e.Digest] = id
	}
	return nil
}

// bring brings one version. The version that is current stays so. Where changes are of no
// use here, the whole is brought.
func bring(ctx context.Context, s *image.Store, from Source, w Wanted, o Options) error {
	if same, ok := w.Here[w.Digest]; ok { // by another number
		return s.Again(ctx, ref.Reference{Name: w.Image.Name, Version: same.Version}, w.Record, o.Progress)
	}
	builds, err := receive(ctx, s, from, w, o)
	if err != nil && builds && ctx.Err() == nil {
		w.Here = nil
		if _, whole := receive(ctx, s, from, w, o); whole == nil {
			return nil
		}
	}
	return err
}

// receive brings a version in one way. builds tells that it was as changes.
func receive(ctx context.Context, s *image.Store, from Source, w Wanted, o Options) (builds bool, err error) {
	content, err := from.Open(ctx, w)
	if err != nil {
		return false, err
	}
	builds = content.Base != ""
	expected := &image.Shipped{Record: w.Record, Archive: content.Archive, Base: content.Base}
	_, _, err = s.Receive(ctx, content, image.Receiving{Name: w.Image.Name, Stay: true, Expected: expected, Limits: o.Limits, Progress: o.Progress})
	if err != nil && content.Failed != nil && ctx.Err() == nil {
		if why := content.Failed(); why != nil {
			err = why // which says more than that the content was cut off
		}
	}
	if err != nil && content.Drop != nil && ctx.Err() == nil {
		content.Drop()
	}
	return builds, errors.Join(err, content.Close())
}

// finish makes the source's current version current, and removes what the source has no
// more.
func finish(s *image.Store, img Image, here []image.Entry, prune bool, r *Result) error {
	for _, e := range here {
		if e.Current && e.Version != img.Current {
			r.Was = e.Version
		}
	}
	if img.some {
		r.Current, r.Was = currentOf(here), 0
		return tagAs(s, img)
	}
	if r.Was != 0 {
		if _, err := s.Rollback(ref.Reference{Name: img.Name, Version: img.Current}); err != nil {
			return err
		}
	}
	err := tagAs(s, img)
	if !prune || err != nil {
		return err
	}
	r.Removed, r.InUse, err = s.RemoveVersions(img.Name, func(version int) bool {
		return !slices.ContainsFunc(img.Versions, func(v Version) bool { return v.Version == version })
	})
	return err
}

// currentOf returns the number of the current version; 0: there is none.
func currentOf(history []image.Entry) int {
	for _, e := range history {
		if e.Current {
			return e.Version
		}
	}
	return 0
}

// tagAs makes the source's tags lead where they lead there. Tags that the source does
// not have stay.
func tagAs(s *image.Store, img Image) error {
	tags, err := s.Tags(img.Name)
	if err != nil {
		return err
	}
	for tag, n := range img.Tags {
		has := slices.ContainsFunc(img.Versions, func(v Version) bool { return v.Version == n })
		if !has || tags[tag] == n {
			continue
		}
		if _, err := s.Tag(ref.Reference{Name: img.Name, Version: n}, tag); err != nil && !errors.Is(err, image.ErrUnknown) { // not brought
			return err
		}
	}
	return nil
}
