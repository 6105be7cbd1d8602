package archive

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/runtime/here"
	"mayfly/runtime/image/tree"
)

// opened opens a directory for a test.
func opened(t *testing.T, dir string) int {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// digest is the digest of a tree.
func digest(t *testing.T, top int) string {
	t.Helper()
	summary, err := tree.Digest(context.Background(), top, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return summary.Digest
}

// base makes a tree in which everything is that a change can be about.
func base(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	var errs []error
	for _, name := range []string{"keep/deep", "gone/deep", "was-directory/deep", "was-link-target", "emptied", "modes"} {
		errs = append(errs, os.MkdirAll(at(name), 0o755))
	}
	for _, name := range []string{"keep/a", "keep/deep/b", "gone/a", "gone/deep/b", "was-directory/a", "was-directory/deep/b", "emptied/a", "was-file",
		"was-link-target/a", "names-1", "content", "mode", "time"} {
		errs = append(errs, os.WriteFile(at(name), []byte(name), 0o644))
	}
	errs = append(errs, os.Link(at("names-1"), at("names-2")), os.Link(at("names-1"), at("names-3")), os.Symlink("was-link-target", at("link")), os.MkdirAll(at("apart/two/three"), 0o755), os.WriteFile(at("apart/one"), []byte("apart"), 0o644),
		os.Link(at("apart/one"), at("apart/two/two")), os.Link(at("apart/one"), at("apart/two/three/three")), unix.Mkfifo(at("fifo"), 0o600))
	past := time.Unix(1_000_000_000, 5)
	errs = append(errs, filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if d.Type()&os.ModeSymlink != 0 {
			return err
		}
		return errors.Join(err, os.Chtimes(name, past, past))
	}))
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return dir
}

// copied copies a tree, by an archive.
func copied(t *testing.T, from string) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(context.Background(), &b, opened(t, from), nil); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	apply(t, dir, (*Extractor).Extract, b.Bytes())
	return dir
}

// apply extracts an archive or a layer into a directory.
func apply(t *testing.T, dir string, how func(*Extractor, context.Context, io.Reader) error, data []byte) {
	t.Helper()
	x, err := NewExtractor(here.Here{}, opened(t, dir), t.TempDir(), &Limits{Bytes: math.MaxInt64, Entries: math.MaxInt64}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if err := errors.Join(how(x, context.Background(), bytes.NewReader(data)), x.Finish(context.Background())); err != nil {
		t.Fatal(err)
	}
}

func TestALayerMakesOneTreeOfTheOther(t *testing.T) {
	for what, change := range map[string]func(at func(string) string) error{
		"nothing":                 func(func(string) string) error { return nil },
		"a new file":              func(at func(string) string) error { return os.WriteFile(at("keep/new"), []byte("new"), 0o600) },
		"a new directory":         func(at func(string) string) error { return os.MkdirAll(at("new/deep/deeper"), 0o700) },
		"a directory goes":        func(at func(string) string) error { return os.RemoveAll(at("gone")) },
		"a file goes":             func(at func(string) string) error { return os.Remove(at("emptied/a")) },
		"content in its place":    func(at func(string) string) error { return os.WriteFile(at("content"), []byte("CONTENT"), 0o644) },
		"a mode":                  func(at func(string) string) error { return os.Chmod(at("mode"), 0o4711) },
		"the mode of a directory": func(at func(string) string) error { return os.Chmod(at("modes"), 0o1777) },
		"the mode of the top":     func(at func(string) string) error { return os.Chmod(at("."), 0o700) },
		"a time":                  func(at func(string) string) error { return os.Chtimes(at("time"), time.Unix(7, 7), time.Unix(7, 7)) },
		"the time of a directory": func(at func(string) string) error { return os.Chtimes(at("keep"), time.Unix(7, 7), time.Unix(7, 7)) },
		"another target": func(at func(string) string) error {
			return replaced(at("link"), func(n string) error { return os.Symlink("keep", n) })
		},
		"a directory becomes a file": func(at func(string) string) error { return replaced(at("was-directory"), plainFile) },
		"a directory becomes a link": func(at func(string) string) error {
			return replaced(at("was-directory"), func(n string) error { return os.Symlink("was-link-target", n) })
		},
		"a file becomes a directory": func(at func(string) string) error {
			return replaced(at("was-file"), func(n string) error { return os.MkdirAll(filepath.Join(n, "deep"), 0o755) })
		},
		"a link becomes a directory": func(at func(string) string) error {
			return replaced(at("link"), func(n string) error { return os.Mkdir(n, 0o755) })
		},
		"a FIFO becomes a file":      func(at func(string) string) error { return replaced(at("fifo"), plainFile) },
		"the content of three names": func(at func(string) string) error { return os.WriteFile(at("names-2"), []byte("three"), 0o644) },
		"the first of three names":   func(at func(string) string) error { return os.Remove(at("names-1")) },
		"one of three on its own":    func(at func(string) string) error { return replaced(at("names-2"), plainFile) },
		"a name before the others":   func(at func(string) string) error { return os.Link(at("names-1"), at("keep/names-0")) },
		"a name after the others":    func(at func(string) string) error { return os.Link(at("names-1"), at("zzz")) },
		"names in three directories": func(at func(string) string) error { return os.WriteFile(at("apart/one"), []byte("elsewhere"), 0o644) },
		"an attribute":               func(at func(string) string) error { return unix.Setxattr(at("keep/a"), "user.a", []byte("b"), 0) },
	} {
		t.Run(what, func(t *testing.T) {
			from := base(t)
			to := copied(t, from)
			if err := change(func(name string) string { return filepath.Join(to, name) }); err != nil {
				t.Fatal(err)
			}
			var layer bytes.Buffer
			if err := WriteChanges(context.Background(), &layer, opened(t, from), opened(t, to), nil); err != nil {
				t.Fatal(err)
			}
			apply(t, from, (*Extractor).ExtractLayer, layer.Bytes())
			if digest(t, opened(t, from)) != digest(t, opened(t, to)) {
				changes, err := tree.Diff(context.Background(), opened(t, to), opened(t, from))
				t.Errorf("another tree: %+v, %v", changes, err)
			}
		})
	}
}

// A name that means "is gone" in a layer cannot be one of a file's.
func TestAFileNamedAsAWhiteoutIsInNoLayer(t *testing.T) {
	for what, c := range map[string]struct {
		before, after func(at func(string) string) error
	}{
		"new":                   {nil, func(at func(string) string) error { return plainFile(at("keep/.wh.a")) }},
		"gone":                  {func(at func(string) string) error { return plainFile(at("keep/.wh.a")) }, func(at func(string) string) error { return os.Remove(at("keep/.wh.a")) }},
		"opaque, and gone":      {func(at func(string) string) error { return plainFile(at("keep/.wh..wh..opq")) }, func(at func(string) string) error { return os.Remove(at("keep/.wh..wh..opq")) }},
		"above what is changed": {func(at func(string) string) error { return os.Mkdir(at(".wh.q"), 0o755) }, func(at func(string) string) error { return plainFile(at(".wh.q/file")) }},
		"another name": {func(at func(string) string) error { return os.Link(at("content"), at("keep/.wh.h")) },
			func(at func(string) string) error { return os.WriteFile(at("content"), []byte("CONTENT"), 0o644) }},
	} {
		from := base(t)
		if c.before != nil {
			if err := c.before(func(name string) string { return filepath.Join(from, name) }); err != nil {
				t.Fatal(err)
			}
		}
		to := copied(t, from)
		if err := c.after(func(name string) string { return filepath.Join(to, name) }); err != nil {
			t.Fatal(err)
		}
		var layer bytes.Buffer
		if err := WriteChanges(context.Background(), &layer, opened(t, from), opened(t, to), nil); !errors.Is(err, ErrWhiteoutName) || layer.Len() > 0 {
			t.Errorf("%s: %v, after %d bytes", what, err, layer.Len())
		}
	}
}

func plainFile(name string) error { return os.WriteFile(name, []byte("plain"), 0o644) }

// replaced removes what has a name, and makes something else.
func replaced(name string, makeIt func(string) error) error {
	return errors.Join(os.RemoveAll(name), makeIt(name))
}
