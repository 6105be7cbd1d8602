package recipe

import "testing"

func TestASettingOfAnotherTypeIsExplained(t *testing.T) {
	for text, want := range map[string]string{
		"suite = 5":                             "line 1: suite: want a text in quotes",
		"suite = \"x\"\nrun = \"x\"":            "line 2: run: want a list of texts in quotes",
		"suite = \"x\"\nrun = [5]":              "line 2: run: want a text in quotes",
		"suite = \"x\"\nlabels = 5":             "line 2: labels: want a table of texts in quotes",
		"suite = \"x\"\n[labels]\na = 1":        "line 3: labels.a: want a text in quotes",
		"suite = \"x\"\nfile = \"x\"":           "line 2: file: want tables that begin with [[file]]",
		"suite = \"x\"\n[[file]]\nmode = 0o755": "line 3: file.mode: want a text in quotes",
		"suite = \"x":                           "line 1: unterminated basic string",
		"suite = \"x\"\nmirror = 2024-01-01":    "line 2: mirror: want a text in quotes",
	} {
		if err := new(Recipe).parse([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
