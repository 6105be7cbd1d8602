package runtime

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"
)

// ParseBind reads SRC[:DST]. A backslash takes the meaning from the character
// after it. A relative source starts at the working directory dir.
func ParseBind(text, dir string, readOnly bool) (Bind, error) {
	fields, err := splitEscaped(text)
	if err != nil {
		return Bind{}, fmt.Errorf("bind %q: %w", text, err)
	}
	if len(fields) > 2 {
		return Bind{}, fmt.Errorf("bind %q: want SRC[:DST], write \\: for a colon in a path", text)
	}
	bind := Bind{Source: fields[0], ReadOnly: readOnly}
	if bind.Source == "" {
		return Bind{}, fmt.Errorf("bind %q: the source is empty", text)
	}
	if !filepath.IsAbs(bind.Source) {
		bind.Source = filepath.Join(dir, bind.Source)
	}
	bind.Source = filepath.Clean(bind.Source)
	bind.Destination = bind.Source
	if len(fields) == 2 {
		bind.Destination = fields[1]
	}
	bind.Destination, err = cleanDestination(bind.Destination)
	if err != nil {
		return Bind{}, fmt.Errorf("bind %q: %w", text, err)
	}
	return bind, nil
}

// splitEscaped splits at colons that have no backslash before them.
func splitEscaped(text string) ([]string, error) {
	var fields []string
	var field strings.Builder
	escaped := false
	for _, c := range []byte(text) {
		switch {
		case c == 0:
			return nil, errors.New("a NUL byte cannot be in a path")
		case escaped:
			field.WriteByte(c)
			escaped = false
		case c == '\\':
			escaped = true
		case c == ':':
			fields = append(fields, field.String())
			field.Reset()
		default:
			field.WriteByte(c)
		}
	}
	if escaped {
		return nil, errors.New("ends in a backslash")
	}
	return append(fields, field.String()), nil
}

// ours are the file systems that Mayfly itself puts into a container: nothing is
// mounted over them or into them.
var ours = []string{"/proc", "/sys", "/dev"}

// cleanDestination accepts the absolute paths that something may be mounted on.
func cleanDestination(name string) (string, error) {
	if !path.IsAbs(name) {
		return "", fmt.Errorf("destination %q is not absolute", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("destination %q contains \"..\"", name)
		}
	}
	clean := path.Clean(name)
	if clean == "/" {
		return "", errors.New("destination is the root directory")
	}
	for _, one := range ours {
		if clean == one || strings.HasPrefix(clean, one+"/") {
			return "", fmt.Errorf("destination %s is in %s, which is the container's own", clean, one)
		}
	}
	return clean, nil
}
