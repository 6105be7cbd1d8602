package project

import (
	"fmt"
	"path/filepath"
	"strings"

	"mayfly/runtime/image/ref"
)

// A Project is what a file says.
type Project struct {
	File  string        // its path
	Image ref.Reference // the zero Reference: it names none
	// Settings are those of a launch, in the order of the text.
	Settings []Setting

	text      string
	image     span
	commands  map[string]command
	commanded []string // names of commands, in the order of the text
}

// A Setting is a flag of `runtime run`, with a value. A flag that can be given several
// times may have several Settings.
type Setting struct {
	Flag  string // without dashes
	Value string
	Line  int
}

// A span is where a value is in the text: bytes from begin to end.
type span struct{ begin, end, line int }

// Dir is the directory of the file.
func (p *Project) Dir() string { return filepath.Dir(p.File) }

// ImageLine is the line that names the image; 0: none does.
func (p *Project) ImageLine() int { return p.image.line }

// At returns FILE:LINE.
func (p *Project) At(line int) string { return fmt.Sprintf("%s:%d", p.File, line) }

// Commands lists the names of the commands, in the order of the text.
func (p *Project) Commands() []string { return p.commanded }

// WithImage returns the text of the file with another image. Nothing else changes.
func (p *Project) WithImage(r ref.Reference) (string, error) {
	if p.image.line == 0 {
		return "", fmt.Errorf("%s names no image: add the line image = %q", p.File, r)
	}
	return p.text[:p.image.begin] + `"` + r.String() + `"` + p.text[p.image.end:], nil
}

// advice lists the commands for an error.
func (p *Project) advice() string {
	if len(p.commanded) == 0 {
		return "it has no [commands]"
	}
	return "it has " + strings.Join(p.commanded, ", ")
}
