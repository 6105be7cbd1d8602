package survey

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"mayfly/runtime/plan"
)

func TestNamesInsideAreOfTheSameDirectory(t *testing.T) {
	top := t.TempDir()
	for _, dir := range []string{"data/joe/src", "other/joe/src"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("data", filepath.Join(top, "home")); err != nil {
		t.Fatal(err)
	}
	var sources []plan.BoundSource
	for _, s := range [][2]string{{"home", "/home"}, {"data/joe", filepath.Join(top, "data/joe")}, {"other", "/data"}} {
		id, err := identify(filepath.Join(top, s[0]))
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, plan.BoundSource{FileID: id, Destination: s[1]})
	}
	dir := filepath.Join(top, "data/joe/src")
	if names := namesInside(sources, dir); !slices.Equal(names, []string{dir, "/home/joe/src"}) {
		t.Errorf("%q", names)
	}
}
