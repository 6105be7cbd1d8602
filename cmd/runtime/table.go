package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"golang.org/x/term"
)

// A table prints aligned columns. On a terminal it keeps to the terminal's width: the
// widest columns are cut.
func table(heading string, rows func(row func(cells ...any))) error {
	lines := [][]string{strings.Split(heading, "\t")}
	rows(func(cells ...any) {
		var line []string
		for _, c := range cells {
			text := printableLine(fmt.Sprint(c))
			switch c {
			case "":
				text = "-"
			case true:
				text = "yes"
			case false:
				text = "no"
			}
			line = append(line, text)
		}
		lines = append(lines, line)
	})
	if width, _, err := term.GetSize(1); err == nil && width > 0 {
		fit(lines, width)
	}
	w := tabwriter.NewWriter(stdout, 0, 0, gap, ' ', 0)
	for _, line := range lines {
		fmt.Fprintln(w, strings.Join(line, "\t"))
	}
	return w.Flush()
}

const (
	gap       = 2  // between columns
	narrowest = 10 // a column is not cut to less
)

// fit cuts cells until the lines are no wider than a terminal, or the columns are as
// narrow as they get.
func fit(lines [][]string, width int) {
	widths := make([]int, len(lines[0]))
	total := gap * (len(widths) - 1)
	for column := range widths {
		for _, line := range lines {
			widths[column] = max(widths[column], utf8.RuneCountInString(line[column]))
		}
		total += widths[column]
	}
	for ; total > width; total-- {
		widest := 0
		for column := range widths {
			if widths[column] > widths[widest] {
				widest = column
			}
		}
		if widths[widest] <= narrowest {
			break
		}
		widths[widest]--
	}
	for _, line := range lines {
		for column := range line {
			line[column] = cut(line[column], widths[column])
		}
	}
}

// cut cuts a text to a number of characters, and says so by three dots.
func cut(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-3]) + "..."
}
