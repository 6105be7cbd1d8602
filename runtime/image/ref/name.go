// Package ref has the names of images, versions and snapshots: which are allowed, and
// how they are written. It is pure. The plan of a launch and the store use it.
package ref

import (
	"fmt"
	"strconv"
)

// maxName is the kernel's limit for a host name, which is a container's name by
// default.
const maxName = 64

// CheckName accepts names that are safe as a file name, as part of a host name and as a
// word on a terminal: ASCII letters, digits, dot, underscore and hyphen, at most 64, a
// letter or digit first. what is the kind of name, for the error.
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
