package exchange

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mayfly/runtime/here"
	"mayfly/runtime/image"
	"mayfly/runtime/image/archive"
	"mayfly/runtime/image/oci"
)

// archiveOf makes a tar archive of files, and of directories, whose names end in a
// slash.
func archiveOf(t *testing.T, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range names {
		h := tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(name)), Uid: os.Getuid(), Gid: os.Getgid()}
		if strings.HasSuffix(name, "/") {
			h.Typeflag, h.Mode, h.Size = tar.TypeDir, 0o755, 0
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(name)[:h.Size]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// written makes a file.
func written(t *testing.T, name string, data []byte) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// imported fills a new directory, and returns it with what came of it.
func imported(t *testing.T, s Source) (string, Result, error) {
	t.Helper()
	top := t.TempDir()
	fd, err := unix.Open(top, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	r, err := Import(context.Background(), s, Where{Top: fd, Spool: t.TempDir(), Limits: archive.Limits{Bytes: 1 << 24, Entries: 1000}})
	return top, r, err
}

// holds tells what is in a file.
func holds(t *testing.T, top, name, want string) {
	t.Helper()
	if data, err := os.ReadFile(filepath.Join(top, name)); err != nil || string(data) != want {
		t.Errorf("%s: %q, %v; want %q", name, data, err, want)
	}
}

// filled makes a directory with a file in it, and opens it.
func filled(t *testing.T) (name string, fd int) {
	t.Helper()
	name = t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(name, "etc"), 0o755), os.WriteFile(filepath.Join(name, "etc/motd"), []byte("hello"), 0o644), os.Chmod(name, 0o755)); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return name, fd
}

func TestARootFileSystemComesFromADirectoryOrAnArchive(t *testing.T) {
	dir, _ := filled(t)
	top, r, err := imported(t, Source{Name: dir})
	if err != nil || r.Origin != "import of directory "+dir || r.Config != nil || len(r.Sums) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	holds(t, top, "etc/motd", "hello")

	file := written(t, "root.tar", archiveOf(t, "./", "./etc/", "./etc/motd"))
	if top, r, err = imported(t, Source{Name: file}); err != nil || r.Origin != "import of archive "+file {
		t.Errorf("%+v, %v", r, err)
	}
	holds(t, top, "etc/motd", "./etc/motd")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if top, _, err = imported(t, Source{Name: link}); err != nil {
		t.Errorf("by a link: %v", err)
	}
	holds(t, top, "etc/motd", "./etc/motd")
}

func TestAnArchiveComesThroughAPipe(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	data := archiveOf(t, "file")
	go func() {
		if w, err := os.OpenFile(fifo, os.O_WRONLY, 0); err == nil {
			_, _ = w.Write(data)
			w.Close()
		}
	}()
	top, _, err := imported(t, Source{Name: fifo})
	if err != nil {
		t.Fatal(err)
	}
	holds(t, top, "file", "file")
}

func TestAnImageComesBackAsItWasGivenAway(t *testing.T) {
	_, fd := filled(t)
	content := oci.Content{Reference: "deb", Architecture: "amd64", Compression: "none", Top: fd, Spool: t.TempDir(), Labels: map[string]string{"who": "test"}}
	dir := filepath.Join(t.TempDir(), "layout")
	if err := oci.WriteDirectory(context.Background(), dir, content); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := oci.WriteTar(context.Background(), &b, content); err != nil {
		t.Fatal(err)
	}
	for what, name := range map[string]string{"directory": dir, "archive": written(t, "image.tar", b.Bytes())} {
		top, r, err := imported(t, Source{Name: name})
		if err != nil || !strings.HasPrefix(r.Origin, "import of image ") || !strings.Contains(r.Origin, " sha256:") || r.Labels["who"] != "test" {
			t.Errorf("%s: %+v, %v", what, r, err)
		}
		holds(t, top, "etc/motd", "hello")
		if _, _, err := imported(t, Source{Name: name, Reference: "another"}); err == nil {
			t.Errorf("%s: an image that is not in it", what)
		}
		if _, _, err := imported(t, Source{Name: name, Arch: "no-such"}); err == nil {
			t.Errorf("%s: an architecture that is none", what)
		}
	}
}

func TestWhatIsNoRootFileSystemIsSaidInWords(t *testing.T) {
	whole := archiveOf(t, "abc", "b")
	for what, c := range map[string]struct{ name, want string }{
		"what is not there":           {filepath.Join(t.TempDir(), "nosuch"), "no such file"},
		"a device":                    {"/dev/null", "want a file or a directory"},
		"nothing":                     {written(t, "empty.tar", nil), "it is empty, or of zeros only"},
		"zeros":                       {written(t, "zeros.tar", make([]byte, 4096)), "it is empty, or of zeros only"},
		"a part of a header":          {written(t, "short.tar", whole[:300]), "it ends too early"},
		"a text":                      {written(t, "text.tar", bytes.Repeat([]byte("text "), 1000)), "not an archive"},
		"half an archive":             {written(t, "half.tar", whole[:513]), "unexpected EOF"},
		"an archive that climbs":      {written(t, "climbs.tar", archiveOf(t, "a/", "a/../../b")), ".."},
		"a disk image without a disk": {written(t, "disk.img", []byte("text")), "neither a partition table nor a file system"},
	} {
		if _, _, err := imported(t, Source{Name: c.name}); err == nil || !strings.HasPrefix(err.Error(), "import "+c.name+": ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
	}
}

func TestTheFirstEntryTellsWhatAnArchiveIs(t *testing.T) {
	for want, names := range map[string][]string{"oci-layout": {"./", "./oci-layout"}, "etc": {"/", "./", "etc/"}, "manifest.json": {"manifest.json"}} {
		if got, err := firstEntry(archiveOf(t, names...)); err != nil || got != want {
			t.Errorf("%q: %q, %v", names, got, err)
		}
	}
	for _, names := range [][]string{nil, {"./"}} {
		if got, err := firstEntry(archiveOf(t, names...)); err != io.EOF {
			t.Errorf("%q: %q, %v", names, got, err)
		}
	}
}

func TestHowMuchWillComeIsKnownOfAPlainArchive(t *testing.T) {
	for name, want := range map[string]int64{written(t, "a.tar", make([]byte, 77)): 77, written(t, "a.tar.gz", make([]byte, 77)): 0, t.TempDir(): 0, "-": 0, "/no/such.tar": 0} {
		if got := (Source{Name: name}).Size(); got != want {
			t.Errorf("%s: %d", name, got)
		}
	}
}

func TestAFileHasItsNameWhenItIsWhole(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "image.tar")
	names := func() (list []string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			list = append(list, e.Name())
		}
		return list
	}
	failure := errors.New("no")
	if err := toFile(here.Here{}, name, func(w io.Writer) error { _, _ = w.Write([]byte("half")); return failure }); !errors.Is(err, failure) || len(names()) != 0 {
		t.Errorf("%v leaves %q", err, names())
	}
	for _, text := range []string{"first", "second"} { // in the place of what is there
		err := toFile(here.Here{}, name, func(w io.Writer) error {
			if info, err := os.Stat(name); text == "first" && err == nil {
				t.Errorf("it has its name already: %v", info)
			}
			_, err := w.Write([]byte(text))
			return err
		})
		if err != nil || len(names()) != 1 {
			t.Errorf("%v, %q", err, names())
		}
		holds(t, dir, "image.tar", text)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := toFile(here.Here{}, filepath.Join(dir, "nosuch/image.tar"), func(io.Writer) error { return nil }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in a directory that is not there: %v", err)
	}
}

func TestFormatsThatAreNoneAreRefused(t *testing.T) {
	img := new(image.Image)
	img.Name = "deb"
	for _, c := range []struct {
		to   Target
		want string
	}{
		{Target{Format: "zip", Name: "x"}, `format "zip": want tar or oci`},
		{Target{Format: "oci", Compression: "xz", Name: "x"}, `compression "xz" of an OCI layer: want gzip, zstd or none`},
		{Target{Format: "oci", Name: "x"}, `compression "" of an OCI layer`},
	} {
		err := Export(context.Background(), nil, img, c.to, nil)
		if err == nil || !strings.HasPrefix(err.Error(), "export image deb: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.to, err)
		}
		if _, there := os.Stat("x"); there == nil {
			t.Errorf("%+v leaves a file", c.to)
		}
	}
}
