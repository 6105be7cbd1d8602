package recipe

import (
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// wanted are the types of settings, by what the decoder calls them, in words.
var wanted = []struct{ suffix, text string }{
	{"[]string", "a list of texts in quotes"},
	{"map[string]string", "a table of texts in quotes"},
	{"[]recipe.File", "tables that begin with [[file]]"},
	{"string", "a text in quotes"},
}

// explain says what a setting is to be where it is something else, which the decoder
// says in the words of Go.
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
