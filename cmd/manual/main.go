// Command manual generates the manual pages from the documents in docs and from the
// binary's help texts:
//
//	manual RUNTIME DOCS DIR DATE
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/cpuguy83/go-md2man/v2/md2man"
)

func main() {
	if len(os.Args) != 5 {
		fail(fmt.Errorf("usage: manual RUNTIME DOCS DIR DATE"))
	}
	m := manual{runtime: os.Args[1], docs: os.Args[2], dir: os.Args[3], date: os.Args[4]}
	if err := m.make(); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "manual:", err)
	os.Exit(1)
}

type manual struct{ runtime, docs, dir, date string }

// A text is a page that is written by hand: a document in docs without its first
// heading.
type text struct{ file, page, section, purpose string }

var texts = []text{
	{"policy.md", "mayfly-policy", "5", "who may run containers of which images, and how"},
	{"images.md", "mayfly-image", "5", "images, versions, recipes, archives and stores"},
	{"containers.md", "mayfly-containers", "7", "running containers, sessions, limits, cleaning up"},
	{"man/mayfly.md", "mayfly", "7", "concepts, and how to switch from nspawn-run, systemd-nspawn and schroot"},
}

func (m manual) make() error {
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return err
	}
	for _, t := range texts {
		body, err := os.ReadFile(filepath.Join(m.docs, t.file))
		if err != nil {
			return err
		}
		_, rest, _ := strings.Cut(string(body), "\n")
		if err := m.write(t.page, t.section, t.purpose, "# DESCRIPTION\n"+rest); err != nil {
			return fmt.Errorf("%s: %w", t.file, err)
		}
	}
	prose, err := os.ReadFile(filepath.Join(m.docs, "man/commands.md"))
	if err != nil {
		return err
	}
	return m.commands(sections(string(prose)))
}

// write renders one page. related are pages that its SEE ALSO names besides the main
// ones.
func (m manual) write(page, section, purpose, body string, related ...string) error {
	body, err := definitions(references(body))
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%% %s %s \"%s\" \"Mayfly\" \"Mayfly\"\n\n# NAME\n\n%s - %s\n\n%s%s",
		strings.ToUpper(page), section, m.date, page, escape(purpose), body, seeAlso(reference(page, section), related))
	return os.WriteFile(filepath.Join(m.dir, page+"."+section), md2man.Render([]byte(text)), 0o644)
}

// reference is how a page is named in another one.
func reference(page, section string) string { return "**" + page + "**(" + section + ")" }

// mainPages are in the SEE ALSO of every page.
var mainPages = []string{"**runtime**(1)", "**mayfly**(7)", "**mayfly-policy**(5)", "**mayfly-image**(5)", "**mayfly-containers**(7)"}

// seeAlso is the last section of a page, without a reference to the page itself.
func seeAlso(self string, related []string) string {
	all := slices.DeleteFunc(slices.Concat(related, mainPages), func(page string) bool { return page == self })
	return "\n# SEE ALSO\n\n" + strings.Join(all, ", ") + "\n"
}

// pages are the pages that are made from documents.
var pages = map[string]string{"policy.md": "**mayfly-policy**(5)", "images.md": "**mayfly-image**(5)", "containers.md": "**mayfly-containers**(7)"}

var link = regexp.MustCompile(`\[([^\]]+)\]\(([^)]+)\)`)

// references turns links to documents into references to pages, and other links into
// their text.
func references(body string) string {
	return link.ReplaceAllStringFunc(body, func(found string) string {
		parts := link.FindStringSubmatch(found)
		if page, ok := pages[filepath.Base(parts[2])]; ok {
			return page
		}
		return parts[1]
	})
}

// sections splits a document at its first-level headings.
func sections(prose string) map[string]string {
	list := map[string]string{}
	for _, part := range strings.Split("\n"+prose, "\n# ")[1:] {
		name, body, _ := strings.Cut(part, "\n")
		list[name] = strings.TrimSpace(body) + "\n"
	}
	return list
}

// help returns the help text of a command.
func (m manual) help(path ...string) (string, error) {
	out, err := exec.Command(m.runtime, append(path[1:], "--help")...).Output()
	if err != nil {
		return "", fmt.Errorf("%s --help: %w", strings.Join(path, " "), err)
	}
	return string(out), nil
}
