// Package ref has the names of images, versions and copies: which are allowed, and how they are written.
// It is pure: the plan of a launch uses it, as the store does.
package ref

import (
	"fmt"
	"strconv"
)

// maxName is the length of a host name, which a container's name must fit.
const maxName = 64

// CheckName accepts what is safe as a file name, a host name's part and a word
// on a terminal: ASCII letters, digits, dot, underscore and hyphen, at most 64 of
// them, beginning with a letter or digit. what is the kind of name, for the message.
func CheckName(what, name string) error {
	if name == "" {
		return fmt.Errorf("%s name is empty", what)
	}
	if len(name) > maxName {
		return fmt.Errorf("%s name %s... is longer than %d characters", what, strconv.QuoteToASCII(name[:16]), maxName)
	}
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '.' && c != '_' && c != '-') {
			return fmt.Errorf("%s name %s: want letters, digits, '.', '_', '-', a letter or digit first", what, strconv.QuoteToASCII(name))
		}
	}
	return nil
}
