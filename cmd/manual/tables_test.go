package main

import (
	"slices"
	"strings"
	"testing"
)

func TestATableBecomesADefinitionList(t *testing.T) {
	const body = `Text.

| key | meaning | default |
|---|---|---|
| ` + "`a`" + ` | one | ` + "`x`" + ` |
| ` + "`b`" + ` | two | |

More | text.
| no table
`
	const want = `Text.

` + "`a`" + `
: one. *default*: ` + "`x`" + `

` + "`b`" + `
: two


More | text.
| no table
`
	if got, err := definitions(body); err != nil || got != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}

func TestARowThatDoesNotFitItsHeadingIsRefused(t *testing.T) {
	for _, table := range []string{"| a | b |\n|---|---|\n| c |\n", "| a | b |\n|---|---|\n| c | d | e |\n", "| a |\n|---|\n| b |\n"} {
		if got, err := definitions(table); err == nil {
			t.Errorf("%q: %q", table, got)
		}
	}
}

func TestAPageDoesNotReferToItself(t *testing.T) {
	for _, self := range mainPages {
		got := seeAlso(self, []string{"**runtime-image**(1)"})
		for _, page := range slices.Concat(mainPages, []string{"**runtime-image**(1)"}) {
			if strings.Contains(got, page) == (page == self) {
				t.Errorf("SEE ALSO of %s: %q", self, got)
			}
		}
	}
}
