package rule

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Globs are those of fnmatch(3): * stands for any number of characters, ? for one,
// [a-z] for one of these, [!a-z] and [^a-z] for one of the others; \ makes the next
// character stand for itself. None of them matches a slash.

// matchAny tells whether one of the globs matches. They were checked when they were
// read.
func matchAny(globs []string, name string) bool {
	for _, glob := range globs {
		plain := literal(glob)
		if !strings.HasPrefix(name, glob[:plain]) { // so it is for most globs
			continue
		}
		if plain == len(glob) && len(name) == plain || glob[plain:] == "*" && !strings.Contains(name[plain:], "/") {
			return true
		}
		if match(glob[plain:], name[plain:]) {
			return true
		}
	}
	return false
}

// literal returns the length of the part of a glob before its first special character.
func literal(glob string) int {
	for i := range len(glob) {
		switch glob[i] {
		case '*', '?', '[', '\\':
			return i
		}
	}
	return len(glob)
}

// match tells whether a glob matches. If a part does not match it goes back to the last
// star only: an earlier star could take no more than it does.
func match(glob, name string) bool {
	starred, afterStar, taken := false, "", ""
	for glob != "" || name != "" {
		if glob != "" {
			t, rest, err := nextToken(glob)
			if err != nil {
				return false
			}
			if t.kind == star {
				starred, afterStar, taken = true, rest, name
				glob = rest
				continue
			}
			if c, n := utf8.DecodeRuneInString(name); n > 0 && t.has(c) {
				glob, name = rest, name[n:]
				continue
			}
		}
		c, n := utf8.DecodeRuneInString(taken)
		if !starred || n == 0 || c == '/' {
			return false
		}
		taken = taken[n:]
		glob, name = afterStar, taken
	}
	return true
}

// A token is a part of a glob: a star, or what stands for one character.
type token struct {
	kind    tokenKind
	char    rune
	set     string // the text between the brackets
	negated bool
}

type tokenKind int

const (
	char tokenKind = iota
	star
	question
	bracket
)

func nextToken(glob string) (t token, rest string, err error) {
	switch glob[0] {
	case '*':
		return token{kind: star}, glob[1:], nil
	case '?':
		return token{kind: question}, glob[1:], nil
	case '[':
		return nextBracket(glob)
	}
	c, rest, err := nextChar(glob)
	return token{kind: char, char: c}, rest, err
}

// nextChar reads a character, which may have a backslash before it.
func nextChar(text string) (c rune, rest string, err error) {
	text = strings.TrimPrefix(text, `\`)
	c, n := utf8.DecodeRuneInString(text)
	if n == 0 {
		return 0, "", errors.New("something is missing at its end")
	}
	return c, text[n:], nil
}

// nextBracket reads [...]. A closing bracket at the beginning stands for itself.
func nextBracket(glob string) (t token, rest string, err error) {
	t.kind = bracket
	rest = glob[1:]
	if rest != "" && (rest[0] == '!' || rest[0] == '^') {
		t.negated, rest = true, rest[1:]
	}
	begin := rest
	for first := true; first || !strings.HasPrefix(rest, "]"); first = false {
		if strings.HasPrefix(rest, "[:") || strings.HasPrefix(rest, "[.") || strings.HasPrefix(rest, "[=") {
			return t, "", errors.New("classes of characters such as [:digit:] have no meaning: write them out, 0-9")
		}
		var low, high rune
		if low, high, rest, err = nextRange(rest); err != nil {
			return t, "", errors.New("a [ has no ]")
		}
		if low > high {
			return t, "", fmt.Errorf("%c-%c is empty", low, high)
		}
	}
	t.set = begin[:len(begin)-len(rest)]
	return t, rest[1:], nil
}

// nextRange reads one character between brackets, or two with a hyphen between them.
func nextRange(set string) (low, high rune, rest string, err error) {
	low, rest, err = nextChar(set)
	if err != nil || len(rest) < 2 || rest[0] != '-' || rest[1] == ']' {
		return low, low, rest, err
	}
	high, rest, err = nextChar(rest[1:])
	return low, high, rest, err
}

// has tells whether a token, which is no star, stands for a character.
func (t token) has(c rune) bool {
	switch {
	case t.kind == char:
		return c == t.char
	case c == '/':
		return false
	case t.kind != bracket:
		return true
	}
	for set := t.set; set != ""; {
		low, high, rest, err := nextRange(set)
		if err != nil {
			return false
		}
		if low <= c && c <= high {
			return !t.negated
		}
		set = rest
	}
	return t.negated
}

// maxName is the length of the longest name of an image, see ref.CheckName.
const maxName = 64

// imageHas tells whether an image's name may have a character, as ref.CheckName does.
func imageHas(c rune, first bool) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || !first && (c == '.' || c == '_' || c == '-')
}

// variableHas tells whether a variable's name may have a character. The kernel allows
// all but an equals sign. Those refused here are likely a mistake in the list; no shell
// sets such variables.
func variableHas(c rune, _ bool) bool {
	return c > ' ' && c != 0x7f && c != utf8.RuneError && !strings.ContainsRune("={},;*?[]\\\"'`$|&<>~", c)
}

func checkImageGlob(glob string) error {
	length, err := checkGlob(glob, imageHas)
	switch {
	case err != nil && strings.Contains(glob, "@"):
		return fmt.Errorf("%w: a rule is for all versions of an image", err)
	case err == nil && length > maxName:
		return fmt.Errorf("%q matches nothing: no name is longer than %d characters", glob, maxName)
	}
	return err
}

func checkVariableGlob(glob string) error {
	_, err := checkGlob(glob, variableHas)
	return err
}

// checkGlob returns an error for an invalid glob, and for one that can match no name of
// the allowed characters. It returns the length of the shortest name that matches.
func checkGlob(glob string, has func(c rune, first bool) bool) (length int, err error) {
	if glob == "" {
		return 0, errors.New("an empty name")
	}
	for rest, first := glob, true; rest != ""; first = false {
		before := rest
		var t token
		if t, rest, err = nextToken(rest); err != nil {
			return 0, fmt.Errorf("%q is no glob: %w", glob, err)
		}
		if t.kind == star {
			continue
		}
		length++
		if !t.hasOne(func(c rune) bool { return has(c, first) }) {
			return 0, fmt.Errorf("%q matches nothing: no name has %q there", glob, before[:len(before)-len(rest)])
		}
	}
	return length, nil
}

// hasOne tells whether a token stands for a character of a kind. For characters beyond
// ASCII the ends of ranges are tried only, since all of them are of one kind.
func (t token) hasOne(kind func(rune) bool) bool {
	for c := range rune(utf8.RuneSelf) {
		if t.has(c) && kind(c) {
			return true
		}
	}
	for set := t.set; set != "" && !t.negated; {
		_, high, rest, err := nextRange(set)
		if err != nil || high >= utf8.RuneSelf && kind(high) {
			return err == nil
		}
		set = rest
	}
	return t.kind == char && t.char >= utf8.RuneSelf && kind(t.char)
}
