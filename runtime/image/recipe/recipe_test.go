package recipe

import (
	"strings"
	"testing"
)

func TestARecipeIsReadOrItsMistakeIsTold(t *testing.T) {
	for text, want := range map[string]string{
		"suite = \"bookworm\"\ninclude = [\"git\"]\n[labels]\na = \"b\"\n": "",
		"from = \"base@2\"\nrun = [\"true\"]\n":                            "",
		"":                                                                 "either suite or from",
		"suite = \"a\"\nfrom = \"b\"":                                      "either suite or from",
		"suite = 1":                                                        "line 1",
		"suite = \"a\"\n\nnone = 1":                                        "line 3: there is no setting none",
		"suite = \"a\"\n[[file]]\npath = \"/a/../b\"":                      "absolute path",
		"suite = \"a\"\n[[file]]\npath = \"/\"":                            "absolute path",
		"suite = \"a\"\n[[file]]\npath = \"/a\"\nmode = \"17777\"": "octal",
		"suite = \"a\"\nfrom = \"\"":                               "from is empty",
		"suite = \"a\"\narch = \"\"":                               "arch is empty",
		"suite = \"a\"\ninclude = [\"git\", \"\"]":                 "include is empty",
		"suite = \"a\"\nrun = [\"\"]":                              "run is empty",
		"suite = \"a\"\n[[file]]\npath = \"/a\"\nmode = \"\"":      "mode is empty",
		"suite = \"a\"\n[[file]]\npath = \"/a\"\nsource = \"\"":    "source is empty",
		"suite = \"a\"\n[[file]]\npath = \"/a\"\ncontent = \"\"":   "",
		"suite = \"a\"\n[labels]\na = \"\"":                        "",
	} {
		err := (&Recipe{}).parse([]byte(text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzRecipe(f *testing.F) {
	f.Add("suite = \"bookworm\"\n[[file]]\npath = \"/a\"\ncontent = \"b\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		r := &Recipe{}
		if r.parse([]byte(text)) != nil {
			return
		}
		for _, file := range r.Files {
			if !strings.HasPrefix(file.Path, "/") || strings.Contains(file.Path, "/../") {
				t.Errorf("%q has a file %q", text, file.Path)
			}
		}
	})
}
