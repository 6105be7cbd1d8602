package mirror

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/runtime/image"
)

const digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func version(n int, digest string) Version {
	return Version{Record: image.Record{Version: n, Digest: digest}}
}

func numbered(n int) string { return strings.Repeat(string(rune('a'+n)), 64) }

func TestWhatComesNext(t *testing.T) {
	there := Image{Name: "one", Current: 3}
	for n := 1; n <= 4; n++ {
		there.Versions = append(there.Versions, version(n, "sha256:"+numbered(n)))
	}
	entries := func(list ...int) (here []image.Entry) {
		for _, n := range list {
			here = append(here, image.Entry{Record: there.Versions[n-1].Record})
		}
		return here
	}
	for _, c := range []struct {
		here    []image.Entry
		current bool
		want    int // 0: nothing
	}{
		{nil, false, 3}, // what goes to work at once
		{entries(3), false, 1},
		{entries(1, 3), false, 2},
		{entries(1, 2), false, 3},
		{entries(1, 2, 3, 4), false, 0},
		{nil, true, 3},
		{entries(3), true, 0},
		{entries(1, 4), true, 3},
	} {
		got, err := missing(there, c.here, c.current)
		if err != nil || (got == nil) != (c.want == 0) || got != nil && got.Version != c.want {
			t.Errorf("%+v: %+v, %v", c, got, err)
		}
	}
	here := entries(1)
	here[0].Digest = digestA
	if _, err := missing(there, here, false); err == nil {
		t.Error("another version 1")
	}
}

func TestTheBaseOfChanges(t *testing.T) {
	w := Wanted{Image: Image{Name: "one"}, Version: version(3, digestA)}
	for n := 1; n <= 5; n++ {
		w.Image.Versions = append(w.Image.Versions, version(n, "sha256:"+numbered(n)))
	}
	for _, c := range []struct {
		here []int
		want int
	}{{nil, 0}, {[]int{1, 2}, 2}, {[]int{1, 4}, 1}, {[]int{4, 5}, 4}, {[]int{5}, 5}} {
		w.Here = map[string]image.Entry{}
		for _, n := range c.here {
			w.Here["sha256:"+numbered(n)] = image.Entry{}
		}
		if got := w.nearest(); (got == nil) != (c.want == 0) || got != nil && got.Version != c.want {
			t.Errorf("%v: %+v, want %d", c.here, got, c.want)
		}
	}
}

func TestSourcesThatAreNone(t *testing.T) {
	for _, bad := range []string{"", "ftp://host/", "ssh://", "ssh://-oProxyCommand=id", "ssh://-l@host", "ssh://me:secret@host", "ssh://host/a b", "ssh://host/$(id)", "ssh://host?x",
		"https://", "https:///x", "https://host/?x", "https://host/#x", "http://host/x", "https://me:secret@host/x"} {
		if s, err := Parse(bad, Trust{}, new(image.Store)); err == nil {
			t.Errorf("%q is %+v", bad, s)
		}
	}
	for _, good := range []string{"ssh://host", "ssh://me@host:22/srv/images", "https://host", "http://localhost:80/", "http://127.0.0.1/x", "/net/images", "images"} {
		if _, err := Parse(good, Trust{}, new(image.Store)); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	if _, err := Parse("http://host/x", Trust{Unsigned: true}, new(image.Store)); err != nil {
		t.Error(err)
	}
	if _, err := Parse("ssh://host", Trust{Signers: "x"}, new(image.Store)); err == nil {
		t.Error("signers of a host")
	}
}

// FuzzIndex: what is taken names one directory's files, and images that a store can have.
func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"mayfly-images":"1","images":[{"name":"one","current":1,"versions":[{"version":1,"digest":"` + digestA + `","whole":{"name":"files/` + strings.Repeat("a", 32) + `","bytes":1,"sha256":"` + strings.Repeat("a", 64) + `"}}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		index, err := parseIndex(data)
		if err != nil {
			return
		}
		for _, img := range index.Images {
			if strings.ContainsAny(img.Name, "/ ;$") || strings.HasPrefix(img.Name, ".") || strings.HasPrefix(img.Name, "-") || len(img.Versions) == 0 {
				t.Errorf("%+v", img)
			}
		}
		for _, file := range index.files() {
			if !filepath.IsLocal(file.Name) || filepath.Dir(file.Name) != filesDirectory || file.Bytes <= 0 {
				t.Errorf("%+v", file)
			}
		}
	})
}

func TestADirectoryIsNotAnIndex(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := root.Mkdir(IndexName, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := readIndex(root); err == nil {
		t.Error("it is read")
	}
}
