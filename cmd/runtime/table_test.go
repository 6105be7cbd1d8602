package main

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestATableFitsTheTerminal(t *testing.T) {
	rows := func() [][]string {
		return [][]string{{"NAME", "COMMAND", "TASKS"}, {"deb12-i386-0123456789abcdef", strings.Repeat("ü", 60), "1"}, {"short", "make", "100"}}
	}
	for _, c := range []struct{ width, most int }{{200, 96}, {96, 96}, {95, 95}, {60, 60}, {40, 40}, {20, 29}} {
		lines := rows()
		fit(lines, c.width)
		widths := [3]int{}
		for _, line := range lines {
			for i, cell := range line {
				widths[i] = max(widths[i], utf8.RuneCountInString(cell))
			}
		}
		if total := widths[0] + widths[1] + widths[2] + 2*gap; total > c.most {
			t.Errorf("%d columns: %d are taken: %q", c.width, total, lines)
		}
		if lines[2][0] != "short" || lines[2][2] != "100" {
			t.Errorf("%d columns: %q", c.width, lines)
		}
	}
	if got := cut("0123456789ä", 10); got != "0123456..." {
		t.Error(got)
	}
}
