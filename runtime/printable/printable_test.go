package printable

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"mayfly/runtime/internal/exact"
)

// Every character of the classes that a terminal or a reader may be deceived by.
func TestEveryControlAndFormatCharacterIsEscaped(t *testing.T) {
	count := 0
	for c := rune(0); c <= unicode.MaxRune; c++ {
		if !unicode.In(c, unicode.Cc, unicode.Cf, unicode.Cs, unicode.Co, unicode.Zl, unicode.Zp, unicode.Bidi_Control, unicode.Noncharacter_Code_Point) || !utf8.ValidRune(c) {
			continue
		}
		count++
		text := "a" + string(c) + "b"
		if got := Text(text); strings.ContainsRune(got, c) || !strings.HasPrefix(got, `a\`) || !strings.HasSuffix(got, "b") {
			t.Errorf("%U: %q", c, got)
		}
		data, err := JSON(map[string]string{text: text}, "  ")
		var back map[string]string
		if err != nil || strings.ContainsRune(strings.ReplaceAll(string(data), "\n", ""), c) || exact.Unmarshal(data, &back) != nil || back[text] != text {
			t.Errorf("%U: %s, %v", c, data, err)
		}
	}
	if count < 65+150 {
		t.Errorf("only %d characters were looked at", count)
	}
}

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "",
		"plain text, ünïcode, 漢字 😀": "plain text, ünïcode, 漢字 😀",
		"a\u00a0b\u3000c":           "a\u00a0b\u3000c",
		"\x1b]0;x\a":                `\u001b]0;x\u0007`,
		"\n\t\x7f\u009b":            `\u000a\u0009\u007f\u009b`,
		"\u202a\u202e\u2066\u2069\u200b\u200e\ufeff\u2028\u2029": `\u202a\u202e\u2066\u2069\u200b\u200e\ufeff\u2028\u2029`,
		"\U000e0041": `\U000e0041`,
		"\xff\xc3":   `\xff\xc3`,
		"\ufffd":     "\ufffd",
	} {
		if got := Text(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestJSONStaysWhatItWas(t *testing.T) {
	v := map[string]any{"b": []any{"\U000e0041\u202e", 1.5, nil}, "a\x7f": "line\nbreak\u2028"}
	for _, indent := range []string{"", "  "} {
		data, err := JSON(v, indent)
		var back map[string]any
		if err != nil || json.Unmarshal(data, &back) != nil || fmt.Sprint(back) != fmt.Sprint(v) {
			t.Errorf("%s, %v", data, err)
		}
		if lines := strings.Count(string(data), "\n"); (lines == 1) != (indent == "") {
			t.Errorf("%d lines: %s", lines, data)
		}
	}
	if _, err := JSON(func() {}, ""); err == nil {
		t.Error("a function is no JSON")
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("\x1b\u202e\xff")
	f.Fuzz(func(t *testing.T, text string) {
		data, err := JSON(text, "")
		if err != nil || !json.Valid(data) {
			t.Errorf("%q: %q, %v", text, data, err)
		}
		for _, got := range []string{Text(text), strings.TrimSuffix(string(data), "\n")} {
			if !utf8.ValidString(got) || strings.ContainsFunc(got, shapeless) {
				t.Errorf("%q: %q", text, got)
			}
		}
	})
}
