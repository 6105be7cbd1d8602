package ref

import (
	"fmt"
	"strconv"
	"strings"
)

// A Reference names an image, and one of its versions if Version is not 0.
type Reference struct {
	Name    string
	Version int
}

// Parse reads NAME or NAME@VERSION.
func Parse(text string) (Reference, error) {
	name, number, versioned := strings.Cut(text, "@")
	if err := CheckName("image", name); err != nil {
		return Reference{}, err
	}
	if !versioned {
		return Reference{Name: name}, nil
	}
	n, ok := ParseVersion(number)
	if !ok {
		return Reference{}, fmt.Errorf("image %s: version %s: want a number from 1, as in %s@1", name, strconv.QuoteToASCII(number), name)
	}
	return Reference{name, n}, nil
}

// ParseVersion reads a version's number as String writes it: from 1, without sign or
// leading zeros.
func ParseVersion(text string) (int, bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n > 0 && n < 1e9 && strconv.Itoa(n) == text
}

func (r Reference) String() string {
	if r.Version == 0 {
		return r.Name
	}
	return r.Name + "@" + strconv.Itoa(r.Version)
}
