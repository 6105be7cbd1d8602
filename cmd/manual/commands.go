package main

import (
	"fmt"
	"regexp"
	"strings"
)

// commands writes a page for each command, one for each group of commands, and one that
// lists them all.
func (m manual) commands(prose map[string]string) error {
	text, err := m.help("runtime")
	if err != nil {
		return err
	}
	list, err := m.group(prose, text, "runtime")
	if err != nil {
		return err
	}
	for name := range prose {
		if name != "runtime" {
			return fmt.Errorf("commands.md describes %s, which is not a command", name)
		}
	}
	synopsis := "# SYNOPSIS\n\n**runtime** *COMMAND* [flags] [arguments]\n\n**nspawn-run** -n *IMAGE* [*COMMAND* [*ARG*...]]\n\n"
	return m.write("runtime", "1", "run builds in throw-away snapshots of a root file system",
		synopsis+strings.Replace(strings.ReplaceAll("\n"+prose["runtime"], "\n## ", "\n# "), "COMMANDS-HERE\n", list, 1))
}

// entry is a line of a list of commands in a help text.
var entry = regexp.MustCompile(`(?m)^  (\S+) +(.+)$`)

// group writes the pages of a group's commands, and returns a list of these pages. text
// is the group's help.
func (m manual) group(prose map[string]string, text string, path ...string) (string, error) {
	var list strings.Builder
	_, entries, _ := strings.Cut(text, "\ncommands:\n")
	for _, found := range entry.FindAllStringSubmatch(entries, -1) {
		below, err := m.command(prose, found[2], append(path[:len(path):len(path)], found[1])...)
		if err != nil {
			return "", err
		}
		list.WriteString(below)
	}
	return list.String(), nil
}

// command writes the page of a command, or of a group and its commands, and returns a
// list of the pages.
func (m manual) command(prose map[string]string, purpose string, path ...string) (string, error) {
	text, err := m.help(path...)
	if err != nil {
		return "", err
	}
	command := strings.Join(path[1:], " ")
	description, ok := prose[command]
	if !ok {
		return "", fmt.Errorf("commands.md has no section on %s", command)
	}
	delete(prose, command)
	name := strings.Join(path, "-")
	var related []string
	if len(path) > 2 {
		related = append(related, reference(strings.Join(path[:len(path)-1], "-"), "1"))
	}
	list := fmt.Sprintf("%s\n: %s\n\n", reference(name, "1"), escape(purpose))
	if !strings.Contains(text, "\ncommands:\n") {
		return list, m.write(name, "1", purpose, commandPage(text, description), related...)
	}
	below, err := m.group(prose, text, path...)
	if err != nil {
		return "", err
	}
	return list + below, m.write(name, "1", purpose, groupPage(text, description, below), related...)
}

// groupPage is the page of a group of commands.
func groupPage(text, description, list string) string {
	return fmt.Sprintf("# SYNOPSIS\n\n%s\n\n# DESCRIPTION\n\n%s\n# COMMANDS\n\n%s", escape(usage.FindStringSubmatch(text)[1]), description, list)
}

var usage = regexp.MustCompile(`(?m)^usage: (.+)$`)

// commandPage turns a help text into the sections of a page, and adds the description.
func commandPage(text, description string) string {
	text, examples, _ := strings.Cut(text, "\nexamples:\n")
	text, flags, _ := strings.Cut(text, "\nflags:\n")
	var b strings.Builder
	fmt.Fprintf(&b, "# SYNOPSIS\n\n%s\n\n# DESCRIPTION\n\n%s\n", escape(usage.FindStringSubmatch(text)[1]), description)
	if flags != "" {
		b.WriteString("# OPTIONS\n\n" + options(flags))
	}
	if examples != "" {
		b.WriteString("# EXAMPLES\n\n")
		for _, line := range strings.Split(strings.TrimRight(examples, "\n"), "\n") {
			b.WriteString("    " + strings.TrimSpace(line) + "\n")
		}
	}
	return b.String() + "\nExit status: see **runtime**(1).\n"
}

// flag is the help of one flag: its name and value, then at least two blanks or a new
// line, then its description.
var flag = regexp.MustCompile(`(?m)^  (--?[a-z-]+)( \S+)?(?:  +|\n {10,})(.*)$`)

func options(flags string) string {
	var b strings.Builder
	for _, found := range flag.FindAllStringSubmatch(flags, -1) {
		value := ""
		if found[2] != "" {
			value = " *" + escape(found[2][1:]) + "*"
		}
		fmt.Fprintf(&b, "**%s**%s\n: %s\n\n", found[1], value, escape(found[3]))
	}
	return b.String()
}

// escape escapes the characters that have a meaning in Markdown.
func escape(text string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "`", "\\`", "<", `\<`, ">", `\>`, "[", `\[`, "]", `\]`, "|", `\|`).Replace(text)
}
