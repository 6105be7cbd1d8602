package image

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheDigestIsFoundWhateverElseIsInARecord(t *testing.T) {
	const want = "sha256:0123"
	for what, r := range map[string]Record{
		"an ordinary one":      {Version: 1, Origin: "made"},
		"one that lies":        {Version: 1, Origin: "\n  \"digest\": \"sha256:bad\"", Labels: map[string]string{"digest": "sha256:bad", "\n  \"digest": "x"}},
		"a long one":           {Version: 1, Origin: strings.Repeat("x", 100_000)},
		"one of just that":     {},
		"one with a parent":    {Version: 2, Parent: "sha256:bad", Recipe: "\n  \"digest\": \"sha256:bad\"\n"},
		"one with long origin": {Version: 2, Origin: strings.Repeat("ä\n", 1300)},
	} {
		r.Digest = want
		dir, err := os.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		if err := writeRecord(int(dir.Fd()), r); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(filepath.Join(dir.Name(), recordName(r.Version)))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if got := (&Image{record: int(file.Fd())}).Digest(); got != want {
			t.Errorf("%s: %q", what, got)
		}
	}
	if got := (&Image{record: -1}).Digest(); got != "" {
		t.Errorf("without a record: %q", got)
	}
}
