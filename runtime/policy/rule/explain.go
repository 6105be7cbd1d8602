package rule

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Setting is one setting of a rule.
type Setting struct {
	Name  string `json:"name"`
	Text  string `json:"-"`     // as a person reads it
	Value any    `json:"value"` // a list, a truth value, a number, or a text as in the policy; nil: none
	Place Place  `json:"place"` // zero: the built-in default
}

// MarshalText returns String, for JSON.
func (p Place) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// String returns FILE:LINE.
func (p Place) String() string {
	if p.File == "" {
		return "built in"
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Explain lists the rule's settings with the line that each comes from.
func (r *Rule) Explain() []Setting {
	var lines []Setting
	for k := range keyCount {
		if k < keyDeny && r.Offsets[k] == 0 {
			continue // not restricted to users or groups
		}
		text, value := format(r.setting(k))
		lines = append(lines, Setting{keyNames[k], text, value, r.Source.Place(r.Offsets[k])})
	}
	return lines
}

// format returns a setting as text for people, and as a value for programs.
func format(setting any) (text string, value any) {
	const none = "-"
	switch v := setting.(type) {
	case *[]string:
		if len(*v) > 0 {
			return strings.Join(*v, " "), *v
		}
		return none, []string{}
	case *bool:
		if *v {
			return "yes", true
		}
		return "no", false
	case *string:
		if *v != "" {
			return *v, *v
		}
	case *int:
		if *v != 0 {
			return strconv.Itoa(*v), *v
		}
	case *float64:
		if *v != 0 {
			return strconv.FormatFloat(*v, 'g', -1, 64), *v
		}
	case *memory:
		if *v != 0 {
			return v.String(), v.String()
		}
	case *time.Duration:
		if *v != 0 {
			text := shortTime(*v)
			return text, text
		}
	}
	return none, nil
}

// String returns the size as ParseBytes reads it, with the largest unit that has no
// fraction.
func (m memory) String() string {
	unit := 0
	for m != 0 && m%1024 == 0 && unit < len("KMGT") {
		m /= 1024
		unit++
	}
	return strconv.FormatInt(int64(m), 10) + " KMGT"[unit : unit+1][:min(unit, 1)]
}

// shortTime returns a time without the zeroes at its end: 4h, not 4h0m0s.
func shortTime(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
