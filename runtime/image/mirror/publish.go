package mirror

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"strings"

	"mayfly/runtime/image"
	"mayfly/runtime/image/archive"
)

// filesDirectory is where a published directory has the files of versions. A file's name
// tells its content, so it never changes: a cache may keep it for ever. Only the index
// changes.
const filesDirectory = "files"

// A Publication says how images are published.
type Publication struct {
	Directory   string
	Names       []string // of images; none: all that have versions
	Compression string   // see archive.Compress
	Sign        string   // file of an ssh key; "": the index is not signed
	// Writing is told which version is being written. Progress is told bytes of its
	// content.
	Writing  func(name string, version int)
	Progress func(int64)
}

// Publish makes a directory the source of a store's images. What is there already is not
// written again, and what was there and is no more in the index goes with the next
// publication: somebody may just be getting it.
func Publish(ctx context.Context, s *image.Store, p Publication) (Index, error) {
	done, err := s.BeginTurn()
	if err != nil {
		return Index{}, err
	}
	defer done()
	index, err := Describe(s, p.Names)
	if err != nil {
		return index, err
	}
	index.BTRFS = false // it has archives
	if err := makePublic(p.Directory); err != nil {
		return index, err
	}
	root, err := os.OpenRoot(p.Directory)
	if err != nil {
		return index, err
	}
	defer root.Close()
	w := &publisher{Publication: p, store: s, root: root}
	if err := w.publish(ctx, &index); err != nil {
		return index, fmt.Errorf("publish to %s: %w", p.Directory, err)
	}
	return index, nil
}

// makePublic makes a directory that everybody may read, whatever the umask, if it is
// missing.
func makePublic(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	return errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, 0o755))
}

type publisher struct {
	Publication
	store *image.Store
	root  *os.Root
	was   map[string]File // the files of the last index, by name
}

func (p *publisher) publish(ctx context.Context, index *Index) error {
	err := p.root.Mkdir(filesDirectory, 0o755)
	if err == nil {
		err = p.root.Chmod(filesDirectory, 0o755)
	}
	if err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := p.readLast(ctx); err != nil {
		return err
	}
	for i := range index.Images {
		if err := p.image(ctx, &index.Images[i]); err != nil {
			return err
		}
	}
	data, err := index.encode()
	if err == nil {
		_, err = parseIndex(data)
	}
	if err != nil {
		return err
	}
	if p.Sign != "" {
		if data, err = sign(ctx, p.Sign, data); err != nil {
			return err
		}
	}
	if err := p.replace(IndexName, func(f *os.File) error { _, err := f.Write(data); return err }); err != nil {
		return err
	}
	return p.clear(*index)
}

// readLast reads what is published already. It refuses a directory that has something
// else, which is not ours to clear.
func (p *publisher) readLast(ctx context.Context) error {
	p.was = map[string]File{}
	data, err := readIndex(p.root)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	last, err := Trust{}.open(ctx, data)
	if err != nil {
		return fmt.Errorf("%s is there, and is %w", IndexName, err)
	}
	if p.Sign != "" { // what is signed again must not be somebody else's
		if own, err := signedBy(ctx, p.Sign, data); err != nil || !own {
			return err
		}
	}
	for _, f := range last.files() {
		p.was[f.Name] = f
	}
	return nil
}

// image writes the files of an image's versions: each whole, and each but the first as
// the changes since the one before.
func (p *publisher) image(ctx context.Context, img *Image) error {
	for n := range img.Versions {
		v := &img.Versions[n]
		v.StreamID = ""
		var err error
		if v.Whole, err = p.file(ctx, img.Name, v, nil); err != nil {
			return fmt.Errorf("image %s@%d: %w", img.Name, v.Version, err)
		}
		if n == 0 {
			continue
		}
		v.Changes, err = p.file(ctx, img.Name, v, &img.Versions[n-1])
		if err != nil && !errors.Is(err, archive.ErrWhiteoutName) {
			return fmt.Errorf("image %s@%d: %w", img.Name, v.Version, err)
		}
	}
	return nil
}

// file writes a version to a file, unless that is there.
func (p *publisher) file(ctx context.Context, name string, v, base *Version) (*File, error) {
	hexOf := func(digest string) string { return strings.TrimPrefix(digest, "sha256:")[:digits] }
	f := File{Name: path.Join(filesDirectory, hexOf(v.Digest))}
	how := image.Sending{Archive: true, Progress: p.Progress}
	if base != nil {
		f.Base, how.Parent = base.Digest, base.Version
		f.Name += "-from-" + hexOf(base.Digest)
	}
	if was, ok := p.was[f.Name]; ok && was.Base == f.Base && p.holds(was) {
		return &was, nil
	}
	if p.Writing != nil {
		p.Writing(name, v.Version)
	}
	err := p.replace(f.Name, func(file *os.File) error {
		out := &summing{w: file, sum: sha256.New()}
		compressed, err := archive.Compress(ctx, p.store.Here, p.Compression, out)
		if err != nil {
			return err
		}
		err = p.store.Send(ctx, fmt.Sprintf("%s@%d", name, v.Version), how, compressed)
		if err = errors.Join(err, compressed.Close()); err != nil {
			return err
		}
		f.Bytes, f.SHA256 = out.bytes, hex.EncodeToString(out.sum.Sum(nil))
		return nil
	})
	if err != nil {
		return nil, err
	}
	p.was[f.Name] = f // another image may have the same content
	return &f, nil
}

// holds returns whether a file is there as it was published.
func (p *publisher) holds(f File) bool {
	info, err := p.root.Lstat(f.Name)
	if err != nil || !info.Mode().IsRegular() || info.Size() != f.Bytes {
		return false
	}
	file, err := p.root.Open(f.Name)
	if err != nil {
		return false
	}
	defer file.Close()
	h := sha256.New()
	_, err = io.Copy(h, file)
	return err == nil && hex.EncodeToString(h.Sum(nil)) == f.SHA256
}

// A summing writer counts and sums up what it writes.
type summing struct {
	w     io.Writer
	sum   hash.Hash
	bytes int64
}

func (s *summing) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	s.bytes += int64(n)
	s.sum.Write(b[:n])
	return n, err
}

// draft is the file that is being written, of whichever name.
const draft = filesDirectory + "/.new"

// replace writes a file, which has its name when it is whole and on disk.
func (p *publisher) replace(name string, write func(*os.File) error) error {
	if err := p.root.Remove(draft); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	file, err := p.root.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	err = errors.Join(write(file), file.Chmod(0o644), file.Sync(), p.store.Here.GiveToCaller(path.Join(p.Directory, draft)), file.Close())
	if err == nil {
		err = p.root.Rename(draft, name)
	}
	if err != nil {
		return errors.Join(err, p.root.Remove(draft))
	}
	return nil
}

// clear removes files that neither this index names nor the one before.
func (p *publisher) clear(index Index) error {
	for _, f := range index.files() {
		p.was[f.Name] = f
	}
	dir, err := p.root.Open(filesDirectory)
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if !isFileName(name) {
			continue // not ours
		}
		name = path.Join(filesDirectory, name)
		if _, ok := p.was[name]; !ok {
			errs = append(errs, p.root.Remove(name))
		}
	}
	return errors.Join(errs...)
}
