// Package dsc reads the descriptions of Debian's source packages (.dsc, deb-src-control(5)),
// for what they need to be built. It is pure.
package dsc

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
)

// A Source is what a source package says of its building.
type Source struct {
	Name   string
	Fields []string // those that name packages, as "FIELD: VALUE" with one line each, in a fixed order
}

// relations are the fields that say what must be installed, and what must not.
var relations = []string{"Build-Depends", "Build-Depends-Arch", "Build-Depends-Indep", "Build-Conflicts", "Build-Conflicts-Arch", "Build-Conflicts-Indep"}

// Most bounds a description, in bytes.
const Most = 4 << 20

// Parse reads a .dsc, signed or not, or a debian/control. A signature is not checked.
func Parse(data []byte) (Source, error) {
	if len(data) > Most {
		return Source{}, fmt.Errorf("longer than %d bytes", Most)
	}
	fields, err := paragraph(unsigned(data))
	if err != nil {
		return Source{}, err
	}
	s := Source{Name: fields["source"]}
	if s.Name == "" || strings.Trim(s.Name, "abcdefghijklmnopqrstuvwxyz0123456789+-.") != "" {
		return Source{}, fmt.Errorf("no source package: field Source is %.40q", s.Name)
	}
	for _, name := range relations {
		if value := fields[strings.ToLower(name)]; value != "" {
			s.Fields = append(s.Fields, name+": "+value)
		}
	}
	return s, nil
}

// unsigned returns what a clear signature (RFC 9580, 7) is about.
func unsigned(data []byte) []byte {
	const begin, end = "-----BEGIN PGP SIGNED MESSAGE-----", "-----BEGIN PGP SIGNATURE-----"
	if !bytes.HasPrefix(bytes.TrimLeft(data, "\n"), []byte(begin)) {
		return data
	}
	_, data, _ = bytes.Cut(data, []byte("\n\n"))
	data, _, _ = bytes.Cut(data, []byte(end))
	return data
}

// paragraph reads the first paragraph. Values are on one line each; names are in lower
// case.
func paragraph(data []byte) (map[string]string, error) {
	fields, last := map[string]string{}, ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, " \t\r\n")
		switch {
		case line == "" && len(fields) > 0:
			return fields, nil
		case line == "" || line[0] == '#':
		case line[0] == ' ' || line[0] == '\t':
			if last == "" {
				return nil, errors.New("it begins with a continued line")
			}
			fields[last] = strings.TrimSpace(fields[last] + " " + strings.TrimSpace(line))
		default:
			name, value, is := strings.Cut(line, ":")
			if !is || strings.ContainsAny(name, " \t") {
				return nil, fmt.Errorf("line %.60q is no field", line)
			}
			last = strings.ToLower(name)
			if _, twice := fields[last]; twice {
				return nil, fmt.Errorf("field %.40q is there twice", name)
			}
			fields[last] = strings.TrimSpace(value)
		}
	}
	if len(fields) == 0 {
		return nil, errors.New("it is empty")
	}
	return fields, nil
}

// Control returns a debian/control with the same dependencies.
func (s Source) Control() string {
	lines := append([]string{"Source: " + s.Name, "Maintainer: none <none@invalid>"}, s.Fields...)
	return strings.Join(append(lines, "", "Package: "+s.Name, "Architecture: any", "Description: none", ""), "\n")
}

// Key is the same for source packages of one name that need the same, in the same
// content of an image.
func (s Source) Key(image string) string {
	sum := sha256.Sum256([]byte(image + "\x00" + s.Name + "\x00" + strings.Join(s.Fields, "\x00")))
	return fmt.Sprintf("%x", sum[:6])
}
