package recipe

import (
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// wanted are the types of settings: the decoder's names, and words for people.
var wanted = []struct{ suffix, text string }{
	{"[]string", "a list of texts in quotes"},
	{"map[string]string", "a table of texts in quotes"},
	{"[]recipe.File", "tables that begin with [[file]]"},
	{"string", "a text in quotes"},
}

// explain says which type a setting needs. The decoder's error names Go's types.
func explain(err *toml.DecodeError) error {
	line, _ := err.Position()
	text := strings.TrimPrefix(err.Error(), "toml: ")
	if strings.HasPrefix(text, "cannot decode TOML") {
		for _, w := range wanted {
			if strings.HasSuffix(text, w.suffix) {
				text = strings.Join(err.Key(), ".") + ": want " + w.text
				break
			}
		}
	}
	return fmt.Errorf("line %d: %s", line, text)
}
