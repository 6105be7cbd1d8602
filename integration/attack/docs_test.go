package attack

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mayfly/integration/kit"
)

// The table in docs/security.md names every test of this package, and no other.
func TestTheTableIsWhole(t *testing.T) {
	table, err := os.ReadFile("../../docs/security.md")
	kit.Must(t, err)
	files, err := filepath.Glob("*_test.go")
	kit.Must(t, err)
	var code strings.Builder
	for _, name := range files {
		text, err := os.ReadFile(name)
		kit.Must(t, err)
		code.Write(text)
	}
	names := func(pattern, text string) []string {
		list := regexp.MustCompile(pattern).FindAllString(text, -1)
		slices.Sort(list)
		return slices.Compact(list)
	}
	const name = `Test[CIM][0-9][0-9A-Za-z]+`
	inTable, inCode := names(name, string(table)), names(name, strings.Join(names(`func `+name, code.String()), "\n"))
	if !slices.Equal(inTable, inCode) || len(inCode) < 50 {
		t.Errorf("in the table %v\nin the code %v", inTable, inCode)
	}
}
