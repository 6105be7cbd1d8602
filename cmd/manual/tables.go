package main

import (
	"fmt"
	"regexp"
	"strings"
)

// rule is the line below the heading of a table.
var rule = regexp.MustCompile(`^\|(?:-+\|)+$`)

// definitions turns the tables of a document into definition lists. man(1) does not
// wrap the cells of a table, so most tables would be wider than a terminal.
//
// The first cell of a row is the term, the second its definition. Each further cell
// follows as a sentence of its own, after its column's heading.
func definitions(body string) (string, error) {
	var b strings.Builder
	lines := strings.SplitAfter(body, "\n")
	for i := 0; i < len(lines); i++ {
		if i+1 == len(lines) || !strings.HasPrefix(lines[i], "|") || !rule.MatchString(strings.TrimSpace(lines[i+1])) {
			b.WriteString(lines[i])
			continue
		}
		heading := cells(lines[i])
		for i += 2; i < len(lines) && strings.HasPrefix(lines[i], "|"); i++ {
			row := cells(lines[i])
			if len(row) != len(heading) || len(row) < 2 {
				return "", fmt.Errorf("table row %q has %d cells, its heading %d: want as many, and 2 at least", lines[i], len(row), len(heading))
			}
			b.WriteString(definition(heading, row))
		}
		i--
	}
	return b.String(), nil
}

// cells splits a row of a table.
func cells(line string) []string {
	list := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

func definition(heading, row []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n: %s", row[0], row[1])
	for i := 2; i < len(row); i++ {
		if row[i] != "" {
			fmt.Fprintf(&b, ". *%s*: %s", heading[i], row[i])
		}
	}
	return b.String() + "\n\n"
}
