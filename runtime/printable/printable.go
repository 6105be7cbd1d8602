// Package printable makes text that somebody else has chosen fit for a terminal, a log
// and the eye. Names, commands and errors may hold what a terminal obeys, or what turns
// round or hides the text beside it. All that the program prints goes through here; so
// does all of its JSON, which a terminal shows as well as anything. Of the project it
// imports package exact only.
package printable

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"mayfly/runtime/internal/exact"
)

// Text escapes every character that has no shape: control characters (Cc, DEL and C1
// among them), format characters (Cf: bidirectional controls, zero-width ones, tags),
// line and paragraph separators, surrogates, private and unassigned ones, as \u or \U
// and a hexadecimal number; and bytes that are not UTF-8, as \x and one.
func Text(text string) string {
	if !strings.ContainsFunc(text, shapeless) && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for i, c := range text {
		switch {
		case c == utf8.RuneError && !strings.HasPrefix(text[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case !shapeless(c):
			b.WriteRune(c)
		case c > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, c)
		default:
			fmt.Fprintf(&b, `\u%04x`, c)
		}
	}
	return b.String()
}

// JSON is a value as JSON, indented, in which such characters are escaped as JSON has
// it: who decodes it gets the value, with what is not UTF-8 as package exact has it. A
// line break ends it.
func JSON(v any, indent string) ([]byte, error) {
	text, err := exact.Marshal(v)
	if indent != "" {
		text, err = json.MarshalIndent(exact.Value(v), "", indent)
	}
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for _, c := range string(text) {
		switch {
		case c == '\n' || !shapeless(c): // in a string a line break is escaped already
			b.WriteRune(c)
		case c > 0xffff:
			c -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+c>>10, 0xdc00+c&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, c)
		}
	}
	b.WriteByte('\n')
	return []byte(b.String()), nil
}

// shapeless tells whether a character shows nothing, and is no space.
func shapeless(c rune) bool { return !strconv.IsGraphic(c) }
