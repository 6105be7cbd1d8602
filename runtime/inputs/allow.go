package inputs

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// An Allowed is what a build may open besides the project and the image.
type Allowed struct {
	paths    []string // a file, or a directory with all below it; may have globs
	packages []string // of the image; nil: all
}

// ParseAllowed reads a list: a line for each path, with ~/ for the home, and with
// globs; `package NAME` for each package of the image, if not all are allowed. Blank
// lines and those that begin with # are left out.
func ParseAllowed(name, text, home string) (*Allowed, error) {
	a := &Allowed{}
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if err := a.add(line, home); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, number, err)
		}
	}
	return a, nil
}

func (a *Allowed) add(line, home string) error {
	if name, is := strings.CutPrefix(line, "package "); is {
		name = strings.TrimSpace(name)
		if name == "" || strings.ContainsAny(name, " \t/") {
			return fmt.Errorf("package %s: want a name", strconv.Quote(name))
		}
		a.packages = append(a.packages, name)
		return nil
	}
	if rest, is := strings.CutPrefix(line, "~/"); is {
		line = path.Join(home, rest)
	}
	if !path.IsAbs(line) {
		return fmt.Errorf("%s: want an absolute path, ~/PATH, or package NAME", strconv.Quote(line))
	}
	if _, err := path.Match(line, "/"); err != nil {
		return errors.New("a [ of the glob has no ]")
	}
	a.paths = append(a.paths, path.Clean(line))
	return nil
}

// allows tells whether a file may be opened. What is of the image is a question of
// packages.
func (a *Allowed) allows(f File) bool {
	if f.Of != OfHost {
		return true
	}
	return slices.ContainsFunc(a.paths, func(glob string) bool {
		// The glob matches the file, or a directory above it.
		for name := f.Path; ; name = path.Dir(name) {
			if ok, _ := path.Match(glob, name); ok || name == glob {
				return true
			}
			if name == "/" {
				return false
			}
		}
	})
}

// mostNamed is how many files an error names.
const mostNamed = 5

// Check returns an error for files that are not allowed, and for a report that is not
// complete. It does not matter whether they were read or written: what a build may not
// use it need not open.
func (a *Allowed) Check(r *Report) error {
	var names, packages []string
	more := 0
	for _, f := range r.Files {
		switch {
		case a.allows(f):
		case len(names) == mostNamed:
			more++
		default:
			names = append(names, strconv.Quote(f.Path))
		}
	}
	for _, p := range r.Packages {
		if a.packages != nil && !slices.Contains(a.packages, p.Name) {
			packages = append(packages, "package "+p.Name)
		}
	}
	var errs []error
	if len(packages) > 0 {
		errs = append(errs, errors.New("used, and not allowed: "+strings.Join(packages, ", ")))
	}
	if len(names) > 0 {
		text := strings.Join(names, ", ")
		if more > 0 {
			text += fmt.Sprintf(" and %d more files", more)
		}
		errs = append(errs, errors.New("opened, and not allowed: "+text))
	}
	if !r.Complete {
		errs = append(errs, errors.New("it cannot be told whether more was opened: "+strings.Join(r.Missed, ", ")))
	}
	return errors.Join(errs...)
}
