// Package foreign converts configurations of schroot and systemd-nspawn into policy
// text.
//
// A setting without a counterpart becomes a comment, so that the administrator sees
// what is lost. A setting that would allow more than the original is not taken over.
package foreign

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"mayfly/runtime/image/ref"
	"mayfly/runtime/policy/rule"
)

// A converted rule is one [[rule]] to be written.
type converted struct {
	title  string // a comment above it
	source string // what the image is made of by `image import`; "": it is one as it is
	images []string
	users  []string
	groups []string
	// nobody: only root may use the original. (A rule without users would be for
	// everybody.)
	nobody bool

	bindReadOnly, bind []string
	environment        bool // env-all
	personality        string
	writable           bool
	network            string
	lost               []string // comments: what was not taken over
}

// write writes the rule as TOML, with comments on what was not taken over.
func (r converted) write(b *strings.Builder) {
	fmt.Fprintf(b, "# %s\n", comment(r.title))
	if r.dropUnusable(); len(r.images) > 0 {
		if r.source != "" {
			fmt.Fprintf(b, "# runtime image import %s %s\n", r.images[0], comment(shellWord(r.source)))
		}
		r.settings(b)
	}
	for _, text := range r.lost {
		fmt.Fprintf(b, "# not taken over: %s\n", comment(text))
	}
	b.WriteByte('\n')
}

// dropUnusable drops names that no image can have. As a glob such a name could match
// another image.
func (r *converted) dropUnusable() {
	r.images = slices.DeleteFunc(slices.Clone(r.images), func(name string) bool {
		err := ref.CheckName("image", name)
		if err != nil {
			r.lost = append(r.lost, err.Error())
		}
		return err != nil
	})
}

func (r converted) settings(b *strings.Builder) {
	b.WriteString("[[rule]]\n")
	list(b, "images", r.images)
	if r.nobody {
		b.WriteString("users = [\"root\"] # the original names nobody; say who\n")
	} else {
		optional(b, "users", r.users)
		optional(b, "groups", r.groups)
	}
	list(b, "bind-ro", r.bindReadOnly)
	list(b, "bind", r.bind)
	if r.environment {
		b.WriteString("env-all = true\n")
	}
	if r.personality != "" {
		fmt.Fprintf(b, "personality = %s\n", rule.Quote(r.personality))
	}
	if r.writable {
		b.WriteString("writable = true\n")
	}
	if r.network != "" {
		list(b, "network", []string{r.network})
	}
}

func optional(b *strings.Builder, name string, values []string) {
	if len(values) > 0 {
		list(b, name, values)
	}
}

func list(b *strings.Builder, name string, values []string) {
	fmt.Fprintf(b, "%s = %s\n", name, rule.QuoteList(values))
}

// comment replaces control characters in a text, so that it stays on its line.
func comment(text string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, text)
}

// usualBinds are in every rule: the originals get the user's name and groups inside in
// another way.
var usualBinds = []string{"/etc/passwd", "/etc/group"}

// bindable returns whether a path can be in a rule's list of binds.
func bindable(name string) bool {
	if !path.IsAbs(name) || strings.IndexByte(name, 0) >= 0 {
		return false
	}
	clean := path.Clean(name)
	for _, own := range []string{"/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp"} {
		if clean == own || strings.HasPrefix(clean, own+"/") {
			return false // every container has its own
		}
	}
	return clean != "/"
}

// errorAt returns an error at a line of a file.
func errorAt(name string, line int, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", name, line, fmt.Sprintf(format, args...))
}

// A setting is NAME=VALUE in a section of an ini file.
type setting struct {
	name, value string
	line        int
}

type section struct {
	name     string
	line     int
	settings []setting
}

// maxLines is the limit of lines in a file.
const maxLines = 10000

// parseINI reads sections of NAME=VALUE. Lines that start with # or ; are comments. If
// continued is true, a backslash at the end of a line joins the next line to it.
func parseINI(name, text string, continued bool) ([]section, error) {
	var sections []section
	lines := strings.Split(text, "\n")
	if len(lines) > maxLines {
		return nil, errorAt(name, maxLines, "too many lines")
	}
	for i := 0; i < len(lines); i++ {
		number := i + 1
		line := strings.TrimSpace(lines[i])
		for continued && strings.HasSuffix(line, `\`) && i+1 < len(lines) {
			i++
			line = strings.TrimSuffix(line, `\`) + " " + strings.TrimSpace(lines[i])
		}
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[':
			if !strings.HasSuffix(line, "]") || len(line) < 3 {
				return nil, errorAt(name, number, "section %q does not end", line)
			}
			sections = append(sections, section{name: line[1 : len(line)-1], line: number})
		default:
			key, value, ok := strings.Cut(line, "=")
			if !ok {
				return nil, errorAt(name, number, "%q is neither [SECTION] nor NAME=VALUE", line)
			}
			if len(sections) == 0 {
				return nil, errorAt(name, number, "%q stands before any section", line)
			}
			last := &sections[len(sections)-1]
			last.settings = append(last.settings, setting{strings.TrimSpace(key), strings.TrimSpace(value), number})
		}
	}
	return sections, nil
}

// shellWord writes a word of a shell's command line.
func shellWord(text string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:@%,"
	if strings.Trim(text, plain) == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// inStore tells whether a path is that of an image in the store where both programs keep
// them: a subvolume there is an image as it is.
func inStore(name string) bool { return path.Dir(path.Clean(name)) == rule.DefaultStore }
