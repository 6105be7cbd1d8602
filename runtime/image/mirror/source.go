package mirror

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"mayfly/runtime/image"
)

// Parse reads the name of a source: ssh://[USER@]HOST[:PORT][/STORE], http:// or https://
// of a published directory, or such a directory's path. store is where the images go, and
// where unfinished downloads are kept.
func Parse(text string, trust Trust, store *image.Store) (Source, error) {
	scheme, _, is := strings.Cut(text, "://")
	switch {
	case !is && text == "":
		return nil, errors.New("the source is empty: want ssh://HOST, https://HOST/PATH or a directory")
	case !is:
		return directory{filepath.Clean(text), trust}, nil
	case scheme == "ssh":
		if trust.Signers != "" {
			return nil, errors.New("--signers is for published directories: who answers at ssh:// is known by ssh(1)")
		}
		if store.Here.Rootless() {
			return nil, errors.New("root of a user namespace has not your keys for ssh(1): have `ssh HOST runtime image send --archive IMAGE` write to `runtime image receive`")
		}
		return parseSSH(text)
	case scheme == "http" || scheme == "https":
		return parseWeb(text, trust, store)
	}
	return nil, fmt.Errorf("source %q: want ssh://HOST, https://HOST/PATH or a directory", text)
}

// choose returns the file of a wanted version: the changes, if what they build on is
// here.
func (w Wanted) choose() (File, error) {
	if w.Changes != nil {
		if _, ok := w.Here[w.Changes.Base]; ok && (w.Whole == nil || w.Changes.Bytes < w.Whole.Bytes) {
			return *w.Changes, nil
		}
	}
	if w.Whole == nil {
		return File{}, errors.New("the source's index names no file of it")
	}
	return *w.Whole, nil
}

// nearest returns the source's version that is here and nearest before the wanted one,
// or else after it; nil: none is here.
func (w Wanted) nearest() (found *Version) {
	for n := range w.Image.Versions {
		v := &w.Image.Versions[n]
		if _, ok := w.Here[v.Digest]; ok && (v.Version < w.Version.Version || found == nil) {
			found = v
		}
	}
	return found
}
