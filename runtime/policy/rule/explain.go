package rule

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Setting is one setting of a rule as a person reads it.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
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
		lines = append(lines, Setting{keyNames[k], format(r.setting(k)), r.Source.Place(r.Offsets[k])})
	}
	return lines
}

// format formats a setting for people.
func format(setting any) string {
	const none = "-"
	switch v := setting.(type) {
	case *[]string:
		if len(*v) > 0 {
			return strings.Join(*v, " ")
		}
	case *bool:
		if *v {
			return "yes"
		}
		return "no"
	case *string:
		if *v != "" {
			return *v
		}
	case *int:
		if *v != 0 {
			return strconv.Itoa(*v)
		}
	case *float64:
		if *v != 0 {
			return strconv.FormatFloat(*v, 'g', -1, 64)
		}
	case *memory:
		if *v != 0 {
			return fmt.Sprintf("%d bytes", *v)
		}
	case *time.Duration:
		if *v != 0 {
			return v.String()
		}
	}
	return none
}
