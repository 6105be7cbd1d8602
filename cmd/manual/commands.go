package main

import (
	"fmt"
	"regexp"
	"strings"
)

// commands writes a page for each command, and one that lists them all.
func (m manual) commands(prose map[string]string) error {
	var list strings.Builder
	if err := m.walk(prose, &list, "runtime"); err != nil {
		return err
	}
	for name := range prose {
		if name != "runtime" {
			return fmt.Errorf("commands.md describes %s, which is no command", name)
		}
	}
	synopsis := "# SYNOPSIS\n\n**runtime** *COMMAND* [flags] [arguments]\n\n**nspawn-run** -n *IMAGE* [*COMMAND* [*ARG*...]]\n\n"
	return m.write("runtime", "1", "run builds in throw-away snapshots of a root file system",
		synopsis+strings.Replace(strings.ReplaceAll("\n"+prose["runtime"], "\n## ", "\n# "), "COMMANDS-HERE\n", list.String(), 1)+seeAlso)
}

// entry is a line of a list of commands in a help text.
var entry = regexp.MustCompile(`(?m)^  (\S+) +(.+)$`)

// walk goes through the help texts from one down.
func (m manual) walk(prose map[string]string, list *strings.Builder, path ...string) error {
	text, err := m.help(path...)
	if err != nil {
		return err
	}
	_, below, isList := strings.Cut(text, "\ncommands:\n")
	if !isList {
		name := strings.Join(path, "-")
		purpose, _, _ := strings.Cut(strings.TrimPrefix(text, strings.Join(path, " ")+": "), "\n")
		fmt.Fprintf(list, "**%s**(1)\n: %s\n\n", name, escape(purpose))
		command := strings.Join(path[1:], " ")
		description, ok := prose[command]
		if !ok {
			return fmt.Errorf("commands.md has nothing on %s", command)
		}
		delete(prose, command)
		return m.write(name, "1", purpose, commandPage(text, description))
	}
	for _, found := range entry.FindAllStringSubmatch(below, -1) {
		if err := m.walk(prose, list, append(path[:len(path):len(path)], found[1])...); err != nil {
			return err
		}
	}
	return nil
}

var usage = regexp.MustCompile(`(?m)^usage: (.+)$`)

// commandPage turns a help text into sections, with a description between.
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
	return b.String() + "\nThe exit status is told in **runtime**(1).\n" + seeAlso
}

// flag is one flag: its name and value, then at least two blanks or a new line, then what it does.
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

// escape keeps Markdown from seeing marks in plain text.
func escape(text string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "`", "\\`", "<", `\<`, ">", `\>`, "[", `\[`, "]", `\]`, "|", `\|`).Replace(text)
}
